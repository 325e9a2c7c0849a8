//! A history: what clients, people, machines and passes do, one step after the other. A value, so that one that failed can be
//! kept as a file, shortened, and played again whatever became of the generator.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::faulty::{Kind, Trouble};

/// How a world begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Far members.
    pub(crate) far: u8,
    /// A far member whose client keeps no registry.
    pub(crate) unregistered: Option<u8>,
    /// Stands in every message: between equals digests decide, and so one thing comes out with one salt and another with the next.
    #[serde(default)]
    pub(crate) salt: u64,
    pub(crate) steps: Vec<Step>,
}

/// Which place: 0 is this machine. Taken modulo their number.
pub(crate) type At = u8;

/// Which session: of those that lie at the place, and a few that may be begun. Taken modulo their number.
pub(crate) type Which = u8;

/// What a client writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Words {
    User,
    Assistant,
    /// With a time, and no message.
    System,
    /// Without a time.
    Title,
    /// No JSON.
    Noise,
    /// A message that is older than the window.
    Old,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A complete line is appended; onto a torn one, it is glued to that.
    Say {
        at: At,
        which: Which,
        words: Words,
    },
    /// Half a line is appended.
    Tear {
        at: At,
        which: Which,
    },
    /// The first lines stay, so many, another follows; in place.
    Rewrite {
        at: At,
        which: Which,
        keep: u8,
    },
    /// The file is cut, at so many 256ths of its length.
    Truncate {
        at: At,
        which: Which,
        keep: u8,
    },
    /// A file beside the transcript is written: of lines, or not.
    Side {
        at: At,
        which: Which,
        lines: bool,
    },
    Delete {
        at: At,
        which: Which,
    },
    Wipe {
        at: At,
    },
    Rebuild {
        at: At,
    },
    /// A clock is set, so many hours ahead of the true time.
    Skew {
        at: At,
        hours: i16,
    },
    /// Every file of a session is given a time: so many days ahead of that side's clock.
    Touch {
        at: At,
        which: Which,
        days: i16,
    },
    /// The settings there say for how many days the client keeps sessions.
    Keep {
        at: At,
        days: u8,
    },
    /// The client deletes what was written to more than so many hours ago, by its clock.
    Sweep {
        at: At,
        hours: u8,
    },
    Forget {
        which: Which,
    },
    Restore {
        which: Which,
    },
    Open {
        at: At,
        which: Which,
    },
    Close {
        at: At,
        which: Which,
    },
    /// Time goes by.
    Wait {
        minutes: u8,
    },
    /// Over the far members whose bits are set.
    Pass {
        members: u8,
        direction: Way,
        trouble: Option<(At, Trouble)>,
    },
    /// The state is gone.
    LoseState,
}

/// What a pass may install where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    Both,
    Pull,
    Push,
}

/// How large histories are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// One in six has any size, and the others are shorter.
    Any,
    /// One in forty has any size, and the others are small: a pass over real directories takes as long as ten others.
    MostlySmall,
}

impl Dice {
    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn least_of_three(&mut self, below: u64) -> u64 {
        (0..3).map(|_| self.roll(below)).min().unwrap_or(0)
    }

    /// How far a clock is off: a day at most, or up to twelve.
    fn hours(&mut self) -> i16 {
        let most = if self.roll(2) == 0 { 30 } else { 288 };
        i16::try_from(self.roll(2 * most + 1)).unwrap() - i16::try_from(most).unwrap()
    }

    fn trouble(&mut self, far: u8) -> Option<(At, Trouble)> {
        let kind = [Kind::Refused, Kind::Lost, Kind::Half, Kind::CrashBefore, Kind::CrashAfter][self.below(5)];
        let (at, call) = (u8::try_from(self.roll(far.into())).unwrap() + 1, u32::try_from(self.roll(4)).unwrap() + 1);
        (self.roll(4) == 0).then_some((at, Trouble { call, kind }))
    }
}

impl History {
    /// The history of a seed: up to 60 steps, and up to four far members.
    pub(crate) fn of(seed: u64, size: Size) -> Self {
        let mut dice = Dice(seed);
        // Short ones are the more: what can break seldom needs many steps, and each costs the two clean passes at its end anyway.
        let (most_far, more) = match size {
            Size::Any if dice.roll(6) == 0 => (4, dice.roll(57)),
            Size::Any => (4, dice.least_of_three(29)),
            Size::MostlySmall if dice.roll(40) == 0 => (4, dice.roll(57)),
            Size::MostlySmall => (2, dice.least_of_three(9)),
        };
        let far = u8::try_from(1 + dice.roll(most_far)).unwrap();
        let unregistered = (dice.roll(4) == 0).then(|| u8::try_from(1 + dice.roll(far.into())).unwrap());
        let steps = (0..4 + more).map(|_| Self::step(&mut dice, far)).collect();
        Self { far, unregistered, salt: seed, steps }
    }

    fn step(dice: &mut Dice, far: u8) -> Step {
        let (at, which) = (u8::try_from(dice.roll(u64::from(far) + 1)).unwrap(), dice.byte());
        let words = [Words::User, Words::User, Words::User, Words::Assistant, Words::Assistant, Words::System, Words::Title, Words::Noise];
        match dice.roll(100) {
            0..34 => Step::Say { at, which, words: if dice.roll(30) == 0 { Words::Old } else { words[dice.below(8)] } },
            34..36 => Step::Touch { at, which, days: [-30_000, -40, -30, -20, -8, -6, -1, 1, 6, 8, 40, 30_000][dice.below(12)] },
            36..41 => Step::Tear { at, which },
            41 => Step::Keep { at, days: [0, 1, 2, 5, 8, 14, 60][dice.below(7)] },
            42..47 => Step::Rewrite { at, which, keep: dice.byte() % 4 },
            47..51 => Step::Truncate { at, which, keep: dice.byte() },
            51..55 => Step::Side { at, which, lines: dice.roll(2) == 0 },
            55..59 => Step::Delete { at, which },
            59 => Step::Wipe { at },
            60 => Step::Rebuild { at },
            61..64 => Step::Skew { at, hours: dice.hours() },
            64..66 => Step::Sweep { at, hours: dice.byte() % 48 },
            66 => Step::Forget { which },
            67..69 => Step::Restore { which },
            69..73 => Step::Open { at, which },
            73..77 => Step::Close { at, which },
            77..80 => Step::Wait { minutes: dice.byte() % 90 },
            80 => Step::LoseState,
            _ => {
                let members = if dice.roll(3) > 0 { u8::MAX } else { dice.byte() };
                let direction = [Way::Both, Way::Both, Way::Both, Way::Both, Way::Pull, Way::Push][dice.below(6)];
                Step::Pass { members, direction, trouble: dice.trouble(far) }
            }
        }
    }
}
