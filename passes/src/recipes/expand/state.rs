//! What a recipe keeps from step to step: the number of the step, switches of gated means, bases of spectral splits.

use super::loops::Order;
use crate::linears::ValueClass;
use crate::recipes::{MeanSplit, SpectralSplit};
use std::collections::HashMap;
use std::ops::Range;
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

/// What an operand is, wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The weight of the linear at a position, in all microbatches and all roles.
    Weight(usize),
    /// An activation or gradient: the value, computed once or several times, kept or read out of what was kept.
    Value(ValueClass),
}

/// A loop in which an operand is another one in each round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rounds {
    /// Its rounds are at the parts of stacks, from the first number on so many: other loops meet the same parts.
    Parts(usize, usize),
    /// Its rounds are its own: the loop is the body at that place.
    Own(Vec<(OpId, usize)>, usize),
}

impl Rounds {
    const fn count(&self) -> usize {
        match self {
            Self::Parts(_, count) | Self::Own(_, count) => *count,
        }
    }
}

/// Which operand a state is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub subject: Subject,
    /// Where it is that of some experts, which of the batch they are.
    pub experts: Option<Range<usize>>,
    /// The loops in which it is another one in each round.
    pub rounds: Vec<Rounds>,
    /// The way into the innermost branch around it: what runs only at times shares nothing with the rest.
    pub branch: Vec<(OpId, usize)>,
}

/// One operand has one state for each purpose, in however many products it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    owner: Owner,
    matrix: Vec<usize>,
    purpose: StatePurpose,
}

/// How a product meets a state: which part of it, and whether it looks at it anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateUse {
    pub id: StateId,
    /// Of each loop around, the outermost first, whether the state has a part for each of its rounds, and in which order.
    pub parts: Vec<Option<(usize, Order)>>,
    /// Whether this is where the state is improved, when that is due: the first use in a step, in the first round of the
    /// loops that it has no parts for.
    pub refreshes: bool,
}

/// The states of a step, in the order of their first uses.
#[derive(Debug, Default)]
pub(super) struct States {
    keys: Vec<Key>,
    states: Vec<State>,
    names: HashMap<String, usize>,
}

impl States {
    /// The state for a purpose of an operand, and whether it is declared here, where there was none yet.
    ///
    /// An operand that is another one in each round of loops has as many as these have rounds, stacked along a dimension in
    /// front.
    pub fn get(
        &mut self,
        owner: &Owner,
        matrix: &[usize],
        purpose: StatePurpose,
        operand: &str,
    ) -> (StateId, bool) {
        let key = Key {
            owner: owner.clone(),
            matrix: matrix.to_vec(),
            purpose,
        };
        if let Some(number) = self.keys.iter().position(|known| *known == key) {
            return (StateId(number), false);
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
        let rounds = &owner.rounds;
        let stack = (!rounds.is_empty()).then(|| rounds.iter().map(Rounds::count).product());
        let shape: Vec<usize> = stack.into_iter().chain(own).collect();
        let name = self.distinct(format!("recipe.{word}.{operand}"));
        self.keys.push(key);
        self.states.push(State {
            name,
            tensor_type: TensorType::new(ElementType::F32, shape),
            initialiser,
        });
        (StateId(self.keys.len() - 1), true)
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
