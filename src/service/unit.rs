//! The two units as text: the files of `packaging/`, filled in and read back. Pure.
//!
//! Promises: a value is one value wherever it stands, whatever it holds, or it is refused; nothing in a value is taken for a
//! placeholder; what was filled in can be read back from a unit, as a person may have edited it. Never: an edit of a unit in place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The property list for launchd.
const PLIST: &str = include_str!("../../packaging/launchd/com.claude-session-sync.agent.plist");
/// The user unit for systemd.
const UNIT: &str = include_str!("../../packaging/systemd/claude-session-sync.service");

/// What opens a line for systemd 254 and newer.
const SINCE_254: &str = "#254: ";

/// Names and values.
pub type Variables = BTreeMap<String, String>;

/// A value that cannot stand in a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot stand in a unit, because it {why}: `{}`", crate::reconcile::plain::plain(value))]
pub struct Unfit {
    /// Which value.
    pub what: String,
    /// What is wrong with it.
    pub why: &'static str,
    /// The value.
    pub value: String,
}

/// The property list.
///
/// # Errors
/// A value holds what XML cannot.
pub fn plist(program: &Path, home: &Path, logs: &Path, variables: &Variables) -> Result<String, Unfit> {
    let mut lines = Vec::new();
    for (name, value) in variables {
        lines.push(format!("\t\t<key>{}</key>\n\t\t<string>{}</string>", xml("a variable's name", name)?, xml(name, value)?));
    }
    let values = [
        ("PROGRAM", xml("the program's path", &utf8("the program's path", program)?)?),
        ("HOME", xml("the home", &utf8("the home", home)?)?),
        ("LOGS", xml("the logs' directory", &utf8("the logs' directory", logs)?)?),
        ("ENVIRONMENT", lines.join("\n")),
    ];
    Ok(filled(PLIST, &values))
}

/// The user unit, for this version of systemd.
///
/// # Errors
/// A value holds what a unit cannot.
pub fn systemd(program: &Path, variables: &Variables, version: u32) -> Result<String, Unfit> {
    let mut lines = Vec::new();
    for (name, value) in variables {
        lines.push(format!("Environment={}", quoted(name, &format!("{name}={value}"))?));
    }
    let values = [("PROGRAM", executable(program)?), ("ENVIRONMENT", lines.join("\n"))];
    let opened = if version >= 254 { UNIT.replace(&format!("\n{SINCE_254}"), "\n") } else { UNIT.to_owned() };
    Ok(filled(&opened, &values))
}

/// Every `@NAME@` replaced, in one go.
fn filled(template: &str, values: &[(&str, String)]) -> String {
    let mut text = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('@') {
        text.push_str(before);
        let named = values.iter().find_map(|(name, value)| Some((value, after.strip_prefix(name)?.strip_prefix('@')?)));
        rest = match named {
            Some((value, after)) => {
                text.push_str(value);
                after
            }
            None => {
                text.push('@');
                after
            }
        };
    }
    text + rest
}

fn utf8(what: &str, path: &Path) -> Result<String, Unfit> {
    path.to_str().map(str::to_owned).ok_or_else(|| Unfit { what: what.to_owned(), why: "is not UTF-8", value: path.to_string_lossy().into_owned() })
}

/// Character data of XML.
fn xml(what: &str, value: &str) -> Result<String, Unfit> {
    single_line(what, value)?;
    Ok(value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// One word of systemd's: in double quotes, `%` doubled (systemd.unit(5), "Specifiers"), `\` and `"` escaped (systemd.syntax(7)).
fn quoted(what: &str, value: &str) -> Result<String, Unfit> {
    single_line(what, value)?;
    Ok(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")))
}

/// The first word of `ExecStart=`. systemd refuses quotes and backslashes in it however they are written (`string_is_safe`); `$` is
/// no variable there.
fn executable(program: &Path) -> Result<String, Unfit> {
    let what = "the program's path";
    let value = utf8(what, program)?;
    if value.contains(['"', '\'', '\\']) {
        return Err(Unfit { what: what.to_owned(), why: "holds a quote or a backslash, which systemd refuses", value });
    }
    quoted(what, &value)
}

fn single_line(what: &str, value: &str) -> Result<(), Unfit> {
    let unfit = value.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    if unfit { Err(Unfit { what: what.to_owned(), why: "holds a control character", value: value.to_owned() }) } else { Ok(()) }
}

/// What was filled into a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    /// The program it names.
    pub program: Option<PathBuf>,
    /// The variables that it sets.
    pub variables: Variables,
}

/// Reads a property list of ours back.
#[must_use]
pub fn read_plist(text: &str) -> Filled {
    let of = |tag: &str, line: &str| {
        let inner = line.trim().strip_prefix(&format!("<{tag}>"))?.strip_suffix(&format!("</{tag}>"))?;
        Some(inner.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&"))
    };
    let after = |key: &str| text.split_once(&format!("<key>{key}</key>")).map_or("", |(_, after)| after);
    let program = after("ProgramArguments").lines().find_map(|line| of("string", line)).map(PathBuf::from);
    let mut lines = after("EnvironmentVariables").lines().take_while(|line| line.trim() != "</dict>");
    let mut variables = Variables::new();
    while let Some(line) = lines.next() {
        if let Some(name) = of("key", line)
            && let Some(value) = lines.next().and_then(|line| of("string", line))
        {
            variables.insert(name, value);
        }
    }
    Filled { program, variables }
}

/// Reads a unit of ours back.
#[must_use]
pub fn read_systemd(text: &str) -> Filled {
    let values = |key: &'static str| text.lines().filter_map(move |line| line.trim().strip_prefix(key));
    let program = values("ExecStart=").next().and_then(|line| first_word(line).map(PathBuf::from));
    let variables = values("Environment=").filter_map(|line| {
        let word = first_word(line)?;
        word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    Filled { program, variables: variables.collect() }
}

/// The first word of a value, as [`quoted`] writes it, or without quotes.
fn first_word(line: &str) -> Option<String> {
    let (mut word, mut characters) = (String::new(), line.chars().peekable());
    let in_quotes = characters.next_if_eq(&'"').is_some();
    while let Some(c) = characters.next() {
        match c {
            '"' if in_quotes => return Some(word),
            ' ' if !in_quotes => break,
            '\\' => word.extend(characters.next()),
            '%' => {
                characters.next_if_eq(&'%');
                word.push('%');
            }
            c => word.push(c),
        }
    }
    (!in_quotes && !word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NASTY: &str = "/a b/%h&<x>'\"$HOME\\n;#@PROGRAM@@HOME@é/c";

    fn one(name: &str, value: &str) -> Variables {
        [(name.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn a_value_stays_one_value_whatever_it_holds() {
        let text = plist(Path::new(NASTY), Path::new("/h"), Path::new("/l"), &one("PATH", NASTY)).unwrap();
        assert!(text.contains("<string>/a b/%h&amp;&lt;x&gt;'\"$HOME\\n;#@PROGRAM@@HOME@é/c</string>\n\t\t<string>run</string>"), "{text}");
        assert_eq!(read_plist(&text), Filled { program: Some(NASTY.into()), variables: one("PATH", NASTY) });
        let program = "/a b/%h&<x>$HOME;#@ENVIRONMENT@é/c";
        let text = systemd(Path::new(program), &one("PATH", NASTY), 252).unwrap();
        assert!(text.contains("\nExecStart=\"/a b/%%h&<x>$HOME;#@ENVIRONMENT@é/c\" run\n"), "{text}");
        assert!(text.contains("\nEnvironment=\"PATH=/a b/%%h&<x>'\\\"$HOME\\\\n;#@PROGRAM@@HOME@é/c\"\n"), "{text}");
        assert_eq!(read_systemd(&text), Filled { program: Some(program.into()), variables: one("PATH", NASTY) });
    }

    proptest! {
        #[test]
        fn what_is_filled_in_is_read_back(value in "[^\\p{Cc}\u{fffe}\u{ffff}]{0,40}") {
            let filled = Filled { program: Some("/p".into()), variables: one("X", &value) };
            prop_assert_eq!(read_systemd(&systemd(Path::new("/p"), &filled.variables, 255).unwrap()), filled.clone());
            prop_assert_eq!(read_plist(&plist(Path::new("/p"), Path::new("/h"), Path::new("/l"), &filled.variables).unwrap()), filled);
        }
    }

    #[test]
    fn what_no_unit_can_hold_is_refused() {
        for path in ["/a\nExecStartPre=/bin/evil", "/a\u{1b}[31m", "/a\tb"] {
            let error = systemd(Path::new(path), &Variables::new(), 252).unwrap_err();
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
            assert!(plist(Path::new(path), Path::new("/h"), Path::new("/l"), &Variables::new()).is_err());
            assert!(systemd(Path::new("/p"), &one("PATH", path), 252).is_err());
        }
        for path in ["/it's", "/a\"b", "/a\\b"] {
            assert!(systemd(Path::new(path), &Variables::new(), 252).is_err(), "{path}");
        }
    }

    #[test]
    fn a_growing_delay_is_for_managers_that_know_it() {
        let of = |version| systemd(Path::new("/p"), &Variables::new(), version).unwrap();
        assert!(of(254).contains("\nRestartSteps=") && of(254).contains("\nRestartMaxDelaySec="));
        assert!(!of(253).contains("\nRestartSteps="));
        assert_eq!(of(253).matches(SINCE_254).count(), 3);
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let texts = [systemd(Path::new("/p"), &Variables::new(), 252), plist(Path::new("/p"), Path::new("/h"), Path::new("/l"), &Variables::new())];
        for text in texts.map(Result::unwrap) {
            assert!(!["@PROGRAM@", "@HOME@", "@LOGS@", "@ENVIRONMENT@"].iter().any(|name| text.contains(name)), "{text}");
        }
    }
}
