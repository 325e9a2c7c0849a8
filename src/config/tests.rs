//! The configuration, held to its template, its messages and its places.

use super::*;

const HOME: &str = "/h";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("config.toml"), Path::new(HOME))
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// The template without the `#` of the lines that `keep` names.
fn uncommented(keep: impl Fn(&str) -> bool) -> String {
    TEMPLATE.lines().map(|line| if keep(line) { line[1..].trim_start().to_owned() } else { line.to_owned() } + "\n").collect()
}

fn is_default(line: &str) -> bool {
    line.len() > 1 && line.starts_with('#') && !line.starts_with("# ")
}

#[test]
fn the_file_that_init_writes_says_the_defaults_of_the_code() {
    assert_eq!(parse(TEMPLATE), Ok(Config::defaults(Path::new(HOME))));
    let all = uncommented(is_default);
    assert_eq!(parse(&all), Ok(Config::defaults(Path::new(HOME))));
    assert!(all.contains("\ndays = 7\n") && all.contains("\n[sync]\n"), "the lines were uncommented");
}

#[test]
fn each_line_of_the_template_counts() {
    // A default that is changed in the template must change what is read: so none of its lines is dead.
    let tables = uncommented(|line| line.starts_with("#["));
    for line in TEMPLATE.lines().filter(|line| is_default(line) && !line.starts_with("#[") && !line.starts_with("#version")) {
        let (key, value) = line[1..].split_once(" = ").unwrap();
        let other = match value {
            "true" => "false".to_owned(),
            "\"both\"" => "\"pull\"".to_owned(),
            "\"quiet\"" => "\"always\"".to_owned(),
            "\"info\"" => "\"warn\"".to_owned(),
            "\"text\"" => "\"json\"".to_owned(),
            "\"0 * * * *\"" => "\"5 * * * *\"".to_owned(),
            list if list.starts_with('[') => "[]".to_owned(),
            number if number.parse::<u32>().is_ok() => "3".to_owned(),
            text => {
                text.replace(['2', '5', '6'], "9").replace("10GiB", "11GiB").replace("github.com", "x.ghe.com").replace("\"g", "\"/g").replace("\"s", "\"/s")
            }
        };
        let changed = tables.replace(line, &format!("{key} = {other}"));
        assert_ne!(parse(&changed), Ok(Config::defaults(Path::new(HOME))), "{key} = {other}");
        assert!(parse(&changed).is_ok(), "{}", refused(&changed));
    }
}

#[test]
fn the_examples_and_every_known_key_stand_in_the_template() {
    let all = uncommented(|line| is_default(line) || line.starts_with("#   "));
    let config = parse(&all).unwrap();
    assert_eq!(config.machines.len(), 2);
    assert_eq!(config.repositories[0].path, Some("/h/projects/widget".into()));
    for key in document::TABLES.iter().flat_map(|shape| shape.keys) {
        assert!(all.contains(&format!("\n{key} = ")), "{key}");
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    let config = parse(&uncommented(|line| is_default(line) || line.starts_with("#   "))).unwrap();
    let shown = toml::to_string(&config).unwrap();
    assert_eq!(parse(&shown), Ok(config), "{shown}");
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_what_was_meant() {
    assert_eq!(refused("[sync]\n\n  dayz = 3 # three\n"), "config.toml:3: unknown key \"dayz\"\n    3 |   dayz = 3 # three\n      = did you mean \"days\"?");
    for (text, hint) in [
        ("[schedule]\nintervall = 5", "did you mean \"every\"?"),
        ("[schedule]\nstale-after = 5", "did you mean \"stale_after\"?"),
        ("[github]\ndays = 5", "\"days\" belongs in [sync]"),
        ("days = 5", "\"days\" belongs in [sync]"),
        ("[shedule]", "did you mean [schedule]?"),
        ("[[repositories]]", "did you mean [[repository]]?"),
        ("[vault]\nqqq = 1", "[vault] has: archive, warn_at"),
        ("[[machine]]\nname = \"b\"\nhost = \"x\"\nrepositories = [\"a/b\"]", "did you mean \"ssh\"?"),
        ("zzz = 1", "the tables are: [github] [sync]"),
    ] {
        assert!(refused(text).contains(hint), "{text}: {}", refused(text));
    }
}

#[test]
fn a_value_of_another_type_is_refused_with_an_example() {
    assert_eq!(refused("[sync]\ndays = \"7\""), "config.toml:2: \"days\" must be a whole number, not a text\n    2 | days = \"7\"\n      = as in: days = 7");
    for (text, expected) in [
        ("[vault]\narchive = 1", "\"archive\" must be true or false, not a whole number"),
        ("[sync]\nclone_roots = [1]", "\"clone_roots\" must hold texts in quotes, not a whole number"),
        ("[sync]\nclone_roots = \"~/x\"", "\"clone_roots\" must be a list of texts, not a text"),
        ("[sync]\ndays = 0", "\"days\" must be between 1 and 3650, not 0"),
        ("[sync]\ndays = 99999999999999999999", "\"days\" must be between"),
        ("[sync]\ndefault = \"bth\"", "did you mean \"both\"?"),
        ("[schedule]\nlook = 5", "as in: look = \"5m\""),
        ("[schedule]\nlook = \"5 minutes\"", "\"look\": \"5 minutes\" is no length of time"),
        ("[schedule]\nevery = \"61 * * * *\"", "\"every\": \"61 * * * *\" is no cron pattern"),
        ("[vault]\nwarn_at = \"10\"", "\"warn_at\": \"10\" is no size"),
        ("sync = 3", "write [sync]"),
        ("[[sync]]\ndays = 3", "write [sync]"),
        ("[repository]\nname = \"a/b\"", "write [[repository]]"),
        ("repository = [1]", "write [[repository]]"),
        ("[github]\ntoken_file = \"token\"", "perhaps \"~/token\""),
        ("version = 2\nnew = 1", "config.toml:1: this program reads version 1 of the file only"),
        ("version = \"1\"", "reads version 1"),
        ("[sync\n", "config.toml:1:"),
        ("[sync]\ndays = 1\ndays = 2", "config.toml:3: duplicate key"),
    ] {
        assert!(refused(text).contains(expected), "{text}: {}", refused(text));
    }
    assert_eq!(refused("version = 2\nnew = 1").lines().count(), 3, "nothing is said of what a later version may mean");
}

#[test]
fn entries_that_contradict_each_other_are_refused() {
    for (text, expected) in [
        (
            "[[repository]]\nname = \"a/b\"\npath = \"~/x\"\n[[repository]]\nname = \"a/c\"\npath = \"/h/./x/\"",
            "config.toml:6: a/b has this path already (line 3)\n    6 | path = \"/h/./x/\"",
        ),
        ("[[repository]]\nname = \"a/b\"\n[[repository]]\nname = \"A/B\"", "another [[repository]] has this name already (line 2)"),
        ("[[repository]]\npath = \"/x\"", "a [[repository]] without \"name\""),
        ("[[repository]]\nname = \"widget\"", "\"name\": \"widget\" is no repository"),
        ("[[repository]]\nname = \"a/b\"\nalso_in = [\"x\"]", "\"also_in\": \"x\" is no repository"),
        ("[[machine]]\nname = \"b\"\nrepositories = [\"a/b\"]", "with neither \"ssh\" nor \"command\""),
        ("[[machine]]\nname = \"b\"\nssh = \"x\"\ncommand = [\"x\"]\nrepositories = [\"a/b\"]", "with both \"ssh\" and \"command\""),
        ("[[machine]]\nname = \"b\"\nssh = \"-oProxyCommand=id\"\nrepositories = [\"a/b\"]", "config.toml:3: \"ssh\": \"-oProxyCommand=id\" begins with `-`"),
        ("[[machine]]\nname = \"b\"\ncommand = []\nrepositories = [\"a/b\"]", "names no program"),
        ("[[machine]]\nname = \"b\"\nssh = \"x\"", "shares no \"repositories\""),
        ("[[machine]]\nname = \"../b\"\nssh = \"x\"\nrepositories = [\"a/b\"]", "is no name for a machine"),
        (
            "[[machine]]\nname = \"b\"\nssh = \"x\"\nrepositories = [\"a/b\"]\n[[machine]]\nname = \"b\"\nssh = \"y\"\nrepositories = [\"a/b\"]",
            "config.toml:6: another [[machine]] has this name already (line 2)",
        ),
    ] {
        assert!(refused(text).contains(expected), "{text}: {}", refused(text));
    }
}

#[test]
fn all_mistakes_are_found_at_once_in_the_order_of_their_lines() {
    let error = parse("[log]\nlevel = \"loud\"\n[sync]\ndays = -1\nfoo = 1\n").unwrap_err();
    assert_eq!(error.problems.iter().map(|problem| problem.place.as_ref().unwrap().line).collect::<Vec<_>>(), [2, 4, 5]);
}

#[test]
fn nothing_in_a_file_reaches_a_terminal_raw() {
    let shown = refused("[sync]\n\"a\\u001b[31m\" = 1\n\"\u{202e}x\" = 1\ndefault = \"\\u009b\"\n[[repository]]\nname = \"\\u001bx\"");
    assert!(shown.lines().count() >= 12 && !shown.chars().any(|c| c != '\n' && crate::reconcile::plain::is_active(c)), "{shown:?}");
}

#[test]
fn a_repository_without_an_entry_has_the_default_policy() {
    let config = parse("[sync]\ndefault = \"pull\"\n[[repository]]\nname = \"acme/widget\"\nsync = \"off\"\n[[repository]]\nname = \"acme/gadget\"").unwrap();
    let policy = |name: &str| config.policy(&name.parse().unwrap());
    assert_eq!(policy("Acme/Widget"), SyncPolicy::Off);
    assert_eq!(policy("acme/gadget"), SyncPolicy::Pull);
    assert_eq!(policy("acme/my-widget"), SyncPolicy::Pull);
}

#[test]
fn a_file_is_bounded_and_utf8_and_need_not_exist() {
    let place = tempfile::tempdir().unwrap();
    let environment = [("HOME", place.path())].into_iter().collect();
    let paths = Paths::of(&environment).unwrap();
    assert_eq!(Config::load(&paths), Ok((Config::defaults(place.path()), Origin::Defaults(paths.config_file.clone()))));

    let file = place.path().join("c.toml");
    let named = paths.with_config_file(file.clone());
    assert!(Config::load(&named).unwrap_err().to_string().contains("does not exist, although --config names it"));
    std::fs::write(&file, "[sync]\ndays = 3\n").unwrap();
    let (config, origin) = Config::load(&named).unwrap();
    assert_eq!((config.sync.days, origin), (3, Origin::File(file.clone())));
    std::fs::write(&file, b"[sync]\ndays = 3 # caf\xe9\n").unwrap();
    let shown = Config::load(&named).unwrap_err().to_string();
    assert!(shown.contains("c.toml:2: is not UTF-8\n    2 | days = 3 # caf\u{fffd}"), "{shown}");
    std::fs::write(&file, vec![b'#'; 1 << 21]).unwrap();
    assert!(Config::load(&named).unwrap_err().to_string().contains("larger than 1 MiB"));
    assert!(Config::load(&named.with_config_file(place.path().into())).unwrap_err().to_string().contains("cannot be read"));
}
