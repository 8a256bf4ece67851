//! `saturate`: equality saturation. All that the rules can make of a graph is found first and the cheapest taken then.
//!
//! A graph's ops go into an e-graph (the crate egg): classes of values that are equal, each with all ops known to give it.
//! A rule looks at an op and adds what that is equal to; it takes nothing away, so the order of rules does not matter.
//! When they find nothing more, or a limit is reached, one op is chosen for each class so that the whole costs least on
//! the target, shared values counted once.
//!
//! So one mean, one centring and one quantisation of an activation come to serve all the products that read it, though
//! the recipe's formulas name them for each. Products of a repeated mean become bias rows, and wgrad's corrections sums of
//! outer products of vectors.
//!
//! Rules never change what is rounded on purpose: quantisations and conversions keep their operands' numbers and their
//! random bits. What a rule may do to other bits is its [`NumericClass`]; the option `numerics` says what is allowed.
//!
//! | file | what it knows |
//! |---|---|
//! | `language` | the IR's ops with classes for operands |
//! | `analysis` | a class's type, its number where that is one, the place it comes from |
//! | `rule` | what a rule is |
//! | `rules` | the rules |
//! | `cost` | bytes, operations and launches of ops on a target |
//! | `extract` | the cheapest program |
//! | `saturate` | a graph into an e-graph and out again |

mod analysis;
#[cfg(test)]
mod audit;
mod cost;
mod extract;
mod language;
mod rule;
mod rules;
mod saturate;

pub use cost::{Cost, CostModel, CpuCosts};
pub use rule::{NumericClass, Rule};
pub use rules::rules;

use crate::manager::{OptionError, OptionValue, Pass, PassFailure, Report, integer_option};
use tessera_ir::Module;

/// What saturation may do and cost.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How often all rules are applied at most.
    pub max_iterations: usize,
    /// How many nodes an e-graph has before no more rules are applied.
    pub max_nodes: usize,
    /// How many ops are saturated together; a larger graph is saturated in parts.
    pub max_ops: usize,
    /// What rules may do to the bits.
    pub numerics: NumericClass,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_iterations: 12,
            max_nodes: 60_000,
            max_ops: 12_000,
            numerics: NumericClass::Reassociating,
        }
    }
}

/// The pass `saturate`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Saturate {
    /// What it may do and cost.
    pub settings: Settings,
}

impl Pass for Saturate {
    fn name(&self) -> &'static str {
        "saturate"
    }

    fn summary(&self) -> &'static str {
        "finds equal forms of all ops by rules and takes the cheapest program"
    }

    fn options(&self) -> Vec<OptionValue> {
        let integers = [
            (
                "max-iterations",
                "how often all rules are applied at most",
                self.settings.max_iterations,
            ),
            (
                "max-nodes",
                "how many forms of ops are kept before no more rules are applied",
                self.settings.max_nodes,
            ),
            (
                "max-ops",
                "how many ops are looked at together; a larger graph is taken in parts",
                self.settings.max_ops,
            ),
        ];
        let integers = integers.map(|(name, summary, value)| OptionValue {
            name,
            summary,
            value: value.to_string(),
        });
        let mut options = Vec::from(integers);
        options.push(OptionValue {
            name: "numerics",
            summary: "'exact' to keep all bits, 'reassociating' to allow sums in another order too",
            value: self.settings.numerics.to_string(),
        });
        options
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        match name {
            "max-iterations" => self.settings.max_iterations = integer_option(value)?,
            "max-nodes" => self.settings.max_nodes = integer_option(value)?,
            "max-ops" => self.settings.max_ops = integer_option(value)?,
            "numerics" => {
                let classes = [NumericClass::Exact, NumericClass::Reassociating];
                let class = classes.into_iter().find(|class| class.name() == value);
                self.settings.numerics = class.ok_or_else(|| OptionError::Value {
                    expected: "'exact' or 'reassociating'",
                    found: value.to_owned(),
                })?;
            }
            _ => return Err(OptionError::Unknown),
        }
        Ok(())
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let mut result = Module::new(module.name.clone());
        for graph in module.graphs() {
            result.insert(saturate::saturated(
                graph,
                &self.settings,
                &CpuCosts,
                report,
            )?);
        }
        Ok(result)
    }
}
