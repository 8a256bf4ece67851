//! What a recipe keeps from step to step: the number of the step, switches of gated means, bases of spectral splits.

use super::matrix::Layout;
use crate::linears::Place;
use crate::recipes::{MeanSplit, SpectralSplit};
use std::collections::HashMap;
use tessera_ir::{ElementType, Graph, OpId, TensorType};
use tessera_numerics::Initialiser;

/// The number of a state in [`States`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StateId(pub usize);

/// The name of the step's number.
pub(super) const STEP: &str = "recipe.step";

/// A value that a recipe adds to the step's donated state.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// The name of the input.
    pub name: String,
    /// Its type.
    pub tensor_type: TensorType,
    /// How it begins.
    pub initialiser: Initialiser,
}

impl State {
    /// The number of the step, from 0.
    pub(super) fn step() -> Self {
        Self {
            name: STEP.to_owned(),
            tensor_type: TensorType::scalar(ElementType::Ui32),
            initialiser: Initialiser::Zeros,
        }
    }
}

/// What a state is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatePurpose {
    /// 1 where the operand is centred, 0 where not.
    Gate(MeanSplit),
    /// The basis of what the mean leaves of the operand.
    Basis(Option<MeanSplit>, SpectralSplit),
}

/// One operand has one state for each purpose, in however many products it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    graph: String,
    regions: Vec<(OpId, usize)>,
    layout: Layout,
    purpose: StatePurpose,
}

/// The states of a step, in the order of their first uses.
#[derive(Debug, Default)]
pub(super) struct States {
    keys: Vec<Key>,
    states: Vec<State>,
    names: HashMap<String, usize>,
}

impl States {
    /// The state for a purpose of an operand, which is declared where there is none yet.
    ///
    /// An operand in loops has as many as the loops have `rounds`, stacked along dimensions in front.
    pub fn get(
        &mut self,
        (place, rounds): (&Place, &[usize]),
        layout: &Layout,
        matrix: &[usize],
        purpose: StatePurpose,
        operand: &str,
    ) -> StateId {
        let key = Key {
            graph: place.graph.clone(),
            regions: place.regions.clone(),
            layout: layout.clone(),
            purpose,
        };
        if let Some(number) = self.keys.iter().position(|known| *known == key) {
            return StateId(number);
        }
        let (word, own, initialiser) = match purpose {
            StatePurpose::Gate(_) => ("gate", Vec::new(), Initialiser::Zeros),
            StatePurpose::Basis(_, split) => {
                let [batch @ .., rows, columns] = matrix else {
                    unreachable!("a matrix has rows and columns");
                };
                let shape = [batch, &[*columns, split.rank_of(*rows, *columns)]].concat();
                // Any columns will do to start from: the first step makes the basis of them. The stream is the number of
                // the input, so that two bases differ.
                let normal = Initialiser::Normal {
                    mean: 0.0,
                    std: 1.0,
                    seed: 0,
                };
                ("basis", shape, normal)
            }
        };
        let stack = (!rounds.is_empty()).then(|| rounds.iter().product());
        let shape: Vec<usize> = stack.into_iter().chain(own).collect();
        let name = self.distinct(format!("recipe.{word}.{operand}"));
        self.keys.push(key);
        self.states.push(State {
            name,
            tensor_type: TensorType::new(ElementType::F32, shape),
            initialiser,
        });
        StateId(self.keys.len() - 1)
    }

    pub fn state(&self, id: StateId) -> &State {
        &self.states[id.0]
    }

    fn distinct(&mut self, name: String) -> String {
        let count = self.names.entry(name.clone()).or_default();
        *count += 1;
        match *count {
            1 => name,
            more => format!("{name}#{more}"),
        }
    }
}

/// What a graph has as inputs after its first `own`.
pub(super) fn added(graph: &Graph, own: usize) -> Vec<State> {
    let inputs = graph.inputs()[own..].iter();
    inputs
        .filter_map(|input| {
            Some(State {
                name: input.name.clone()?,
                tensor_type: input.value_type.as_tensor()?.clone(),
                initialiser: input.initialiser?,
            })
        })
        .collect()
}
