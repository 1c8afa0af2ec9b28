//! Counts of what the scheduler was seen to do, to know that the model has it do everything.

/// What was seen to happen.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) placed: u32,
    pub(crate) suspended: u32,
    pub(crate) resumed: u32,
    /// One was suspended for another that goes on.
    pub(crate) rotated: u32,
    /// An attempt of an earlier term was suspended or resumed.
    pub(crate) adopted: u32,
    /// One was told again what it had not done.
    pub(crate) repeated: u32,
    /// Workers that were kept for a task.
    pub(crate) reserved: u32,
    /// Workers that were looked for.
    pub(crate) probed: u32,
    /// Tasks that ask for resources or labels.
    pub(crate) particular: u32,
}

impl Seen {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.placed += other.placed;
        self.suspended += other.suspended;
        self.resumed += other.resumed;
        self.rotated += other.rotated;
        self.adopted += other.adopted;
        self.repeated += other.repeated;
        self.reserved += other.reserved;
        self.probed += other.probed;
        self.particular += other.particular;
    }
}
