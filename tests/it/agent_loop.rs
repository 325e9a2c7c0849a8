//! The agent's loop in paused time: what rings make passes, what never does, and that nothing overlaps.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use chrono::TimeDelta;
use claude_session_sync::agent::Order;
use claude_session_sync::agent::bell::Ring;
use claude_session_sync::agent::work::{LookEnd, PassOutcome};
use claude_session_sync::reconcile::report::{Fault, FaultKind};
use tokio::time::{Instant, sleep};

use crate::agent_world::{AgentWorld, HOUR, MINUTE, PassScript};

fn network() -> Fault {
    Fault::new(FaultKind::Network, "no route")
}

/// The first pass finds another one under way.
fn busy_once() -> Rc<PassScript> {
    let before = Cell::new(false);
    Rc::new(move |_| (Duration::from_secs(1), if before.replace(true) { PassOutcome::Made } else { PassOutcome::Busy }))
}

#[tokio::test(start_paused = true)]
async fn an_hourly_schedule_is_one_pass_an_hour_for_a_week() {
    let world = Rc::new(AgentWorld::new());
    Rc::clone(&world).play(|_| async { sleep(7 * 24 * HOUR).await }).await;
    let times = world.times();
    assert_eq!(times.len(), 7 * 24);
    for (hour, time) in (0..).zip(&times) {
        let due = 50 * MINUTE + hour * HOUR;
        assert!((due..due + Duration::from_secs(2)).contains(time), "pass {hour} at {time:?}");
    }
    assert!(world.passes.borrow().iter().all(|begun| begun.errand.only.is_none()));
}

#[tokio::test(start_paused = true)]
async fn the_jitter_delays_a_pass_by_no_more_than_it_says_and_is_not_always_the_same() {
    let world = Rc::new(AgentWorld { jitter: 2 * MINUTE, ..AgentWorld::new() });
    Rc::clone(&world).play(|_| async { sleep(3 * 24 * HOUR).await }).await;
    let late: Vec<Duration> = (0..).zip(world.times()).map(|(hour, time)| time - (50 * MINUTE + hour * HOUR)).collect();
    assert_eq!(late.len(), 72);
    assert!(late.iter().all(|late| *late <= 2 * MINUTE + Duration::from_secs(2)), "{late:?}");
    assert!(late.iter().any(|late| *late > MINUTE) && late.iter().any(|late| *late < MINUTE), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn at_the_start_a_pass_is_made_only_if_the_last_good_one_is_older_than_an_interval() {
    for (minutes, passes) in [(Some(59), 0), (Some(61), 1), (Some(-5000), 1), (None, 1)] {
        let world = AgentWorld::new();
        let last_good = minutes.map(|minutes| world.start - TimeDelta::minutes(minutes));
        let world = Rc::new(AgentWorld { last_good, ..world });
        Rc::clone(&world).play(|_| async { sleep(MINUTE).await }).await;
        assert_eq!(world.times().len(), passes, "{minutes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rings_during_a_pass_become_exactly_one_more() {
    let world = Rc::new(AgentWorld { pass: Rc::new(|_| (10 * MINUTE, PassOutcome::Made)), ..AgentWorld::new() });
    let play = |world: Rc<AgentWorld>| async move {
        world.bell.ring(Ring::Request);
        sleep(MINUTE).await;
        for _ in 0..50 {
            world.bell.ring(Ring::Request);
            world.bell.ring(Ring::Schedule);
            sleep(Duration::from_secs(1)).await;
        }
        sleep(30 * MINUTE).await;
    };
    Rc::clone(&world).play(play).await;
    let passes = world.passes.borrow();
    assert_eq!(passes.len(), 2);
    assert_eq!(passes[1].errand.rings.iter().copied().collect::<Vec<_>>(), [Ring::Schedule, Ring::Request]);
    assert!(passes[1].awake >= 10 * MINUTE, "after the first");
}

#[tokio::test(start_paused = true)]
async fn eight_hours_of_sleep_are_one_pass_soon_after_waking() {
    let base = AgentWorld::new();
    let world = Rc::new(AgentWorld { rules: claude_session_sync::agent::desk::Rules { look: 5 * MINUTE, ..base.rules }, ..base });
    let play = |world: Rc<AgentWorld>| async move {
        sleep(2 * MINUTE).await;
        world.jump(TimeDelta::hours(8));
        sleep(20 * MINUTE).await;
    };
    Rc::clone(&world).play(play).await;
    let times = world.times();
    assert_eq!(times.len(), 1, "{times:?}");
    assert!(times[0] <= 4 * MINUTE, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_a_year_or_forward_an_hour_delays_nothing_by_more_than_an_interval() {
    let world = Rc::new(AgentWorld::new());
    let play = |world: Rc<AgentWorld>| async move {
        sleep(2 * HOUR).await;
        world.jump(-TimeDelta::days(365));
        sleep(3 * HOUR).await;
        world.jump(TimeDelta::hours(1));
        sleep(2 * HOUR).await;
    };
    Rc::clone(&world).play(play).await;
    let times = world.times();
    assert!((7..=8).contains(&times.len()), "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] <= HOUR + 2 * MINUTE), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_gone_for_a_day_heals_by_itself_soon_after_it_is_back() {
    let gone = Rc::new(Cell::new(true));
    let (for_pass, for_look) = (Rc::clone(&gone), Rc::clone(&gone));
    let base = AgentWorld::new();
    let world = Rc::new(AgentWorld {
        rules: claude_session_sync::agent::desk::Rules { look: 5 * MINUTE, ..base.rules },
        pass: Rc::new(move |_| (Duration::from_secs(1), if for_pass.get() { PassOutcome::Unlisted(network()) } else { PassOutcome::Made })),
        look: Rc::new(move || LookEnd { fault: for_look.get().then(network), ..LookEnd::default() }),
        ..base
    });
    let play = |world: Rc<AgentWorld>| async move {
        sleep(24 * HOUR).await;
        // Hourly passes, and looks ever more rarely: no storm.
        assert_eq!(world.times().len(), 24);
        assert!(world.looks.borrow().len() <= 24 + 8, "{}", world.looks.borrow().len());
        gone.set(false);
        sleep(HOUR + MINUTE).await;
        let rings: Vec<Ring> = world.passes.borrow()[24..].iter().flat_map(|begun| begun.errand.rings.clone()).collect();
        assert!(!rings.is_empty() && rings.len() <= 2, "{rings:?}");
        sleep(10 * MINUTE).await;
        assert!(world.looks.borrow().last().unwrap() > &(25 * HOUR), "the looks go on as before");
    };
    Rc::clone(&world).play(play).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_brings_a_pass_over_what_is_due_and_over_nothing_else() {
    let due = Rc::new(Cell::new(0));
    let seen = Rc::clone(&due);
    let base = AgentWorld::new();
    let world = Rc::new(AgentWorld {
        rules: claude_session_sync::agent::desk::Rules { look: 5 * MINUTE, ..base.rules },
        look: Rc::new(move || {
            seen.set(seen.get() + 1);
            let due = if seen.get() == 2 { BTreeSet::from(["a".to_owned()]) } else { BTreeSet::new() };
            LookEnd { due, ..LookEnd::default() }
        }),
        ..base
    });
    Rc::clone(&world).play(|_| async { sleep(24 * MINUTE).await }).await;
    assert_eq!(due.get(), 4);
    let passes = world.passes.borrow();
    assert_eq!(passes.len(), 1);
    assert_eq!(passes[0].errand.only.clone().unwrap().into_iter().collect::<Vec<_>>(), ["a"]);
    assert_eq!(passes[0].errand.rings.iter().copied().collect::<Vec<_>>(), [Ring::Look]);
}

#[tokio::test(start_paused = true)]
async fn without_a_look_github_is_asked_by_passes_alone() {
    let world = Rc::new(AgentWorld::new());
    Rc::clone(&world).play(|_| async { sleep(24 * HOUR).await }).await;
    assert_eq!((world.looks.borrow().len(), world.times().len()), (0, 24));
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_found_another_one_under_way_is_tried_again_a_minute_later() {
    let world = Rc::new(AgentWorld { pass: busy_once(), last_good: None, ..AgentWorld::new() });
    Rc::clone(&world).play(|_| async { sleep(10 * MINUTE).await }).await;
    let passes = world.times();
    assert_eq!(passes.len(), 2);
    assert!((MINUTE..2 * MINUTE).contains(&(passes[1] - passes[0])), "{passes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_panics_is_a_failed_pass_and_the_agent_goes_on() {
    let times = Rc::new(Cell::new(0));
    let count = Rc::clone(&times);
    let script = move |_: &_| {
        count.set(count.get() + 1);
        assert!(count.get() != 1, "a mistake of ours");
        (Duration::from_secs(1), PassOutcome::Made)
    };
    // The count of what is under way is not put back by a pass that panics, so this world has its own check.
    let world = Rc::new(AgentWorld { pass: Rc::new(script), ..AgentWorld::new() });
    let play = |world: Rc<AgentWorld>| async move {
        sleep(HOUR).await;
        world.is_idle_again();
        sleep(HOUR).await;
    };
    Rc::clone(&world).play(play).await;
    assert_eq!(times.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_order_to_stop_lets_a_short_pass_end_and_abandons_a_long_one_within_ten_seconds() {
    for (takes, at_most) in [(Duration::from_secs(3), 3), (HOUR, 10)] {
        let world = Rc::new(AgentWorld { pass: Rc::new(move |_| (takes, PassOutcome::Made)), last_good: None, ..AgentWorld::new() });
        let ordered = Rc::new(Cell::new(Instant::now()));
        let at = Rc::clone(&ordered);
        let play = |world: Rc<AgentWorld>| async move {
            sleep(Duration::from_millis(100)).await;
            assert_eq!(world.times().len(), 1);
            at.set(Instant::now());
            world.order(Order::Stop).await;
        };
        world.play(play).await;
        assert!(ordered.get().elapsed() <= Duration::from_secs(at_most), "{takes:?}: {:?}", ordered.get().elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_wrong_at_the_start_parks_the_agent_until_the_file_is_mended() {
    let world = Rc::new(AgentWorld { last_good: None, ..AgentWorld::new() });
    *world.every.borrow_mut() = Err("line 3: nonsense".to_owned());
    let play = |world: Rc<AgentWorld>| async move {
        sleep(3 * HOUR).await;
        world.bell.ring(Ring::Request);
        sleep(MINUTE).await;
        assert!(world.times().is_empty(), "parked");
        *world.every.borrow_mut() = Ok("0 * * * *".to_owned());
        sleep(MINUTE).await;
        assert!(world.times().is_empty(), "nobody wrote the file");
        std::fs::write(world.config_file(), "mended").unwrap();
        sleep(MINUTE).await;
        assert_eq!(world.times().len(), 1);
    };
    Rc::clone(&world).play(play).await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_takes_a_good_configuration_and_keeps_the_old_one_for_a_wrong_one() {
    let world = Rc::new(AgentWorld::new());
    let play = |world: Rc<AgentWorld>| async move {
        sleep(MINUTE).await;
        *world.every.borrow_mut() = Err("line 3: nonsense".to_owned());
        world.order(Order::Reload).await;
        sleep(HOUR).await;
        assert_eq!(world.times().len(), 1, "as before");
        *world.every.borrow_mut() = Ok("*/10 * * * *".to_owned());
        world.order(Order::Reload).await;
        sleep(HOUR).await;
        assert_eq!(world.times().len(), 1 + 6, "every ten minutes now");
    };
    Rc::clone(&world).play(play).await;
}

#[tokio::test(start_paused = true)]
async fn a_jitter_that_is_longer_than_the_interval_neither_drops_a_ring_nor_lets_them_pile_up() {
    let world = Rc::new(AgentWorld { jitter: 5 * HOUR, ..AgentWorld::new() });
    Rc::clone(&world).play(|_| async { sleep(3 * 24 * HOUR).await }).await;
    let times = world.times();
    assert!((70..=72).contains(&times.len()), "{}", times.len());
    for (hour, time) in (0..).zip(&times) {
        let due = 50 * MINUTE + hour * HOUR;
        assert!((due..due + HOUR + Duration::from_secs(2)).contains(time), "ring {hour} at {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reloads_drop_no_ring_and_add_none() {
    for other in ["0 * * * *", "30 4 * * *"] {
        let world = Rc::new(AgentWorld { jitter: 2 * MINUTE, ..AgentWorld::new() });
        let play = |world: Rc<AgentWorld>| async move {
            sleep(49 * MINUTE).await;
            for _ in 0..60 {
                world.order(Order::Reload).await;
                sleep(Duration::from_secs(5)).await;
            }
            assert_eq!(world.times().len(), 1, "the ring of one o'clock");
            // The machine sleeps over the next ring; as it wakes, somebody reloads.
            world.jump(TimeDelta::hours(1));
            *world.every.borrow_mut() = Ok(other.to_owned());
            world.order(Order::Reload).await;
            sleep(2 * MINUTE).await;
            assert_eq!(world.times().len(), 2, "the ring that was slept over");
        };
        Rc::clone(&world).play(play).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleep_over_many_rings_is_one_pass_also_where_a_look_finds_a_visit_due() {
    let visited = Rc::new(Cell::new(true));
    let (by_pass, by_look) = (Rc::clone(&visited), Rc::clone(&visited));
    let base = AgentWorld::new();
    let world = Rc::new(AgentWorld {
        rules: claude_session_sync::agent::desk::Rules { look: 5 * MINUTE, ..base.rules },
        jitter: 2 * MINUTE,
        pass: Rc::new(move |_| {
            by_pass.set(true);
            (Duration::from_secs(10), PassOutcome::Made)
        }),
        look: Rc::new(move || LookEnd { due: (!by_look.get()).then(|| "a".to_owned()).into_iter().collect(), ..LookEnd::default() }),
        ..base
    });
    let play = |world: Rc<AgentWorld>| async move {
        for seconds in [120, 150, 170, 200, 230, 260, 290] {
            sleep(Duration::from_secs(seconds)).await;
            let before = world.times().len();
            visited.set(false);
            world.jump(TimeDelta::hours(8));
            sleep(20 * MINUTE).await;
            let passes = world.times().split_off(before);
            assert_eq!(passes.len(), 1, "{passes:?}");
            // Over the ring of the hour, to the same minute of the next.
            sleep(40 * MINUTE - Duration::from_secs(seconds)).await;
        }
    };
    Rc::clone(&world).play(play).await;
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_this_machine_cannot_make_is_tried_at_the_next_ring_and_not_at_each_look() {
    let base = AgentWorld::new();
    let world = Rc::new(AgentWorld {
        rules: claude_session_sync::agent::desk::Rules { look: 5 * MINUTE, ..base.rules },
        pass: Rc::new(|_| (Duration::from_secs(1), PassOutcome::Failed(Fault::new(FaultKind::Disk, "full")))),
        ..base
    });
    Rc::clone(&world).play(|_| async { sleep(24 * HOUR).await }).await;
    assert_eq!(world.times().len(), 24);
}

#[tokio::test(start_paused = true)]
async fn a_pass_in_between_spares_the_one_that_was_to_be_tried_again() {
    let world = Rc::new(AgentWorld { pass: busy_once(), last_good: None, ..AgentWorld::new() });
    let play = |world: Rc<AgentWorld>| async move {
        sleep(MINUTE / 2).await;
        world.bell.ring(Ring::Request);
        sleep(10 * MINUTE).await;
        assert_eq!(world.times().len(), 2);
    };
    Rc::clone(&world).play(play).await;
}
