//! Where kernels read what they are given.

use super::analyse;
use super::domain::Domain;
use std::collections::BTreeSet;
use tessera_ir::{Definition, Graph, ValueId};

/// Where a kernel reads its operands.
#[derive(Clone, Debug)]
pub(crate) struct ReadsInPlace {
    /// For each input of the body, whether all its uses are of the element at which the kernel stands.
    inputs: Vec<bool>,
}

impl ReadsInPlace {
    /// Looks at a kernel's body; `None` where it is no kernel.
    pub(crate) fn of(body: &Graph) -> Option<Self> {
        let members: BTreeSet<usize> = (0..body.operations().len()).collect();
        let exports = body.results().iter().map(|result| result.value).collect();
        let domain = Domain::of(body, &members, &exports).ok()?;
        let analysis = analyse(body, &members, &exports).ok()?;
        let mut inputs = vec![true; body.inputs().len()];
        for (number, operation) in body.operations().iter().enumerate() {
            for (position, &operand) in operation.op.operands.iter().enumerate() {
                let Definition::Input(input) = body.definition(operand) else {
                    continue;
                };
                let mut spaces = analysis.members[&number].spaces.iter();
                inputs[input] &= spaces.all(|space| {
                    let space = domain.of_operand(body, number, position, space);
                    space.is_ok_and(|space| space.place.is_aligned())
                });
            }
        }
        Some(Self { inputs })
    }

    /// Whether a value is an input that is read only at the element at which the kernel stands.
    pub(crate) fn is_read_in_place(&self, value: ValueId) -> bool {
        self.inputs.get(value.index()).copied().unwrap_or(false)
    }
}
