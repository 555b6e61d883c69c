//! Slots of an artifact that is recorded: each is for one instance, so that what is written in it is what that wrote.

use super::Slot;

impl Slot {
    /// Notes what was written, if the artifact is recorded. Whether it is; the slot is not to be used again then.
    pub(crate) fn record(&self) -> bool {
        let Some(recorder) = &self.blueprint.recorder else { return false };
        let mut runs = Vec::new();
        for range in &self.blueprint.accessible {
            let mut any = usize::MAX;
            // What the kernel cannot tell is left out: a profile is a hint.
            self.for_each_written(range.clone(), &mut any, |run| runs.push(run));
        }
        recorder.instance_wrote(runs.into_iter());
        true
    }
}
