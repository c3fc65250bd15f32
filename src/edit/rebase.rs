//! Carries a stage over to a ruleset that others have changed.

use std::sync::Arc;

use crate::ruleset::Ruleset;

use super::{Remark, Stage};

impl Stage {
    /// The same operations on another reading of the ruleset.
    pub fn rebase(&self, new_base: Arc<Ruleset>) -> (Self, Vec<Remark>) {
        let mut stage = Self::new(new_base);
        let mut remarks = Vec::new();
        for step in &self.done {
            if let Err(why) = stage.carry_out_with(step.operation.clone(), &step.created) {
                remarks.push(Remark::Refused {
                    operation: step.operation.clone(),
                    why,
                });
            }
        }
        (stage, remarks)
    }
}
