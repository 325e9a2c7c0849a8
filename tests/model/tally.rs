//! What a run of histories comes to: how many there were of what, so that nobody takes tame ones for a proof.

use crate::history::History;

/// What a run of histories comes to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) histories: u64,
    pub(crate) steps: u64,
    pub(crate) passes: u64,
    /// Passes in which a call went wrong.
    pub(crate) broken: u64,
    pub(crate) displaced: u64,
    pub(crate) forks: u64,
    pub(crate) lines: u64,
    /// Steps of the longest history.
    pub(crate) longest: u64,
    /// Histories with so many far members.
    pub(crate) far: [u64; 4],
}

impl Tally {
    /// Of one that begins.
    pub(crate) fn of_one(history: &History) -> Self {
        let mut far = [0; 4];
        far[usize::from(history.far) - 1] = 1;
        Self { histories: 1, longest: history.steps.len() as u64, far, ..Self::default() }
    }

    /// Whether histories like these try little: nothing is lost where nothing is in the way. Of a thousand the long and the wide are asked
    /// for, too.
    pub(crate) fn is_tame(&self) -> bool {
        let of_each = |count: u64, so_many: u64| count * so_many > self.histories;
        let some = of_each(self.displaced, 4) && of_each(self.forks, 25) && of_each(self.broken, 100);
        let many = of_each(self.displaced, 2) && of_each(self.forks, 10) && self.longest > 40 && !self.far.contains(&0);
        !some || (self.histories >= 1000 && !many)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.passes += other.passes;
        self.broken += other.broken;
        self.displaced += other.displaced;
        self.forks += other.forks;
        self.lines += other.lines;
        self.longest = self.longest.max(other.longest);
        self.far.iter_mut().zip(other.far).for_each(|(all, more)| *all += more);
    }
}
