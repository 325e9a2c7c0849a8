//! Connections end when nothing more is to be said over them: an open one keeps a codespace awake.

use std::fs;

use crate::remote_far::write_program;
use crate::talk::{Talk, id};
use crate::world::{PATH, World};

#[test]
fn a_connection_ends_when_nothing_more_is_said_over_it_however_long_the_others_take() {
    let mut world = World::new();
    let machines = [("quick", "widget"), ("slow", "gadget")].map(|(name, repository)| {
        let far = world.machine(name, &[&format!("acme/{repository}")]);
        for side in [&world.here, &far] {
            side.clone_of(repository, &format!("git@github.com:acme/{repository}.git"));
        }
        far
    });
    world.here.put(&Talk::begun(&id(1), &world.here.at("widget"), 60, "of the quick one"));
    world.here.put(&Talk::begun(&id(2), &world.here.at("gadget"), 60, "of the slow one"));
    world.passes();

    let (ended, tools) = (world.root().join("ended"), world.root().join("tools"));
    let carrier = format!("trap ': >{}' EXIT; \"$@\"", ended.display());
    world.reach("quick", |command| drop(command.splice(0..0, ["sh", "-c", &carrier, "sh"].map(str::to_owned))));
    // What is sent there is not unpacked before the other connection is over.
    fs::create_dir(&tools).unwrap();
    let waits = format!("#!/bin/sh\nn=0\nuntil [ -e {} ]; do n=$((n + 1)); [ $n -lt 200 ] || exit 1; sleep 0.1; done\nexec tar \"$@\"\n", ended.display());
    write_program(&tools.join("tar"), &waits.replace("exec tar", &format!("PATH={PATH} exec tar")));
    world.reach("slow", |command| *command.last_mut().unwrap() = format!("PATH={}:{PATH}", tools.display()));
    world.here.put(&Talk::begun(&id(3), &world.here.at("gadget"), 50, "for the slow one"));
    world.passes();
    assert!(ended.exists() && machines[1].path(&id(3)).exists());
}
