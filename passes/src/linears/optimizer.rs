//! What optimizers do with matrices of their own, which looks like a linear.
//!
//! A projection P that follows gradients by Oja's rule, P + η G (Gᵀ P), gets what a linear X P with X = Gᵀ would get of the loss
//! ½ ‖Gᵀ P‖² (Online Subspace Descent, arXiv 2408.12857). Only what X is tells them apart: here, a parameter's gradient.

use super::flow::Node;
use super::gradient::Walk;
use super::matching::{Match, Step};
use std::collections::{BTreeMap, HashMap};
use tessera_ir::OpKind;

impl Step<'_> {
    /// The wgrads without those whose X is itself a wgrad, changed element by element or in its layout.
    pub(super) fn of_activations(
        &self,
        mut wgrads: BTreeMap<usize, Vec<Match>>,
    ) -> BTreeMap<usize, Vec<Match>> {
        let results = wgrads.keys().map(|&dot| (self.dots[dot].result, dot));
        let results: HashMap<Node, usize> = results.collect();
        for (&dot, matches) in &mut wgrads {
            matches.retain(|found| {
                let activation = self.dots[dot].operands[found.activation_operand];
                !self.is_made_of(activation, |node| {
                    results.get(&node).is_some_and(|&other| other != dot)
                })
            });
        }
        wgrads.retain(|_, matches| !matches.is_empty());
        wgrads
    }

    /// Whether a value is one of some kind, up to what changes elements one by one, moves all of them, or sums such values.
    fn is_made_of(&self, node: Node, is_of_kind: impl Fn(Node) -> bool) -> bool {
        let mut walk = Walk::from(&self.flow, node);
        while let Some(node) = walk.next() {
            if is_of_kind(node) {
                return true;
            }
            let definition = self.flow.definition(node);
            let kind = definition.map(|(site, _)| &self.flow.operation(site).op.kind);
            // A row that is looked up is an activation, though the table be a parameter that a gradient has changed.
            if !matches!(
                kind,
                Some(
                    OpKind::DotGeneral { .. }
                        | OpKind::GroupedDot { .. }
                        | OpKind::Gather { .. }
                        | OpKind::DynamicSlice { .. }
                )
            ) {
                walk.follow(node);
            }
        }
        false
    }
}
