//! `fuse`: ops become kernels.
//!
//! The result is a module again. Each distinct kernel is a private graph named for what it does, and each launch of it a
//! call; beside calls, graphs hold control flow, reshapes and barriers, which cost nothing, and constants that are
//! buffers. So what fusion does can be printed, verified and interpreted like everything before it.
//!
//! A kernel's body keeps the rules of one [`Family`](tessera_ir::plan::Family); [`kernel_family`] says which.
//!
//! | file | what it knows |
//! |---|---|
//! | `contract` | which ops may be one kernel |
//! | `reductions` | what reductions and matrix products must look like to be kernels |
//! | `dot` | which transposes are strides of a matrix product |
//! | `epilogue` | what is computed of a product before it is written |
//! | `attention` | which products are in no memory because all that is made of them is made of a tile at a time |
//! | `axis_sums` | which sums and products by vectors of scaled tensors are made of their codes |
//! | `quantize` | which quantisations are one pass over a tensor, Hadamard transforms among them |
//! | `magnitudes` | which largest magnitudes of Hadamard transforms are found without writing these |
//! | `cost` | what computing again costs, and what keeping |
//! | `grouping` | which ops shall be one kernel |
//! | `outline` | making calls and kernels of groups |

mod attention;
mod axis_sums;
mod contract;
pub(crate) mod cost;
mod dot;
mod epilogue;
mod grouping;
mod magnitudes;
mod name;
mod outline;
mod quantize;
mod reductions;

pub(crate) use contract::ReadsInPlace;
pub use contract::kernel_family;
pub(crate) use epilogue::magnitudes;

use crate::manager::{OptionError, OptionValue, Pass, PassFailure, Report, integer_option};
use outline::Outliner;
use tessera_ir::{Module, Visibility};

/// The pass `fuse`.
#[derive(Clone, Copy, Debug)]
pub struct Fuse {
    /// How many buffers a kernel reads at most.
    pub max_operands: usize,
    /// How many ops a kernel has at most.
    pub max_ops: usize,
    /// What becomes of Hadamard transforms.
    pub hadamard: Transforms,
    /// Which products' kernels compute of them what follows.
    pub epilogues: Epilogues,
    /// Where the products are between which a softmax stands.
    pub attention: Attentions,
}

/// Where the products are between which a softmax stands, and what is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attentions {
    /// In memory.
    Written,
    /// In no memory, where it takes less time to make them again, a tile at a time: for GPUs.
    Tiled,
}

/// The products with which elementwise ops on them may be one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogues {
    /// None.
    None,
    /// Those of scaled tensors, but grouped ones: a CPU makes the others by calls of a library.
    Scaled,
    /// All.
    All,
}

/// Where Hadamard transforms are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transforms {
    /// In the kernels that quantise them or find their largest magnitudes, where they can be.
    Fused,
    /// In kernels of their own: for targets whose kernels cannot hold them.
    Alone,
}

impl Default for Fuse {
    fn default() -> Self {
        Self {
            max_operands: 48,
            max_ops: 160,
            hadamard: Transforms::Fused,
            epilogues: Epilogues::None,
            attention: Attentions::Written,
        }
    }
}

impl Pass for Fuse {
    fn name(&self) -> &'static str {
        "fuse"
    }

    fn summary(&self) -> &'static str {
        "groups ops into kernels: private graphs, called"
    }

    fn options(&self) -> Vec<OptionValue> {
        vec![
            OptionValue {
                name: "max-operands",
                summary: "how many buffers a kernel reads at most",
                value: self.max_operands.to_string(),
            },
            OptionValue {
                name: "max-ops",
                summary: "how many ops a kernel has at most; 1 makes a kernel of each op",
                value: self.max_ops.to_string(),
            },
            OptionValue {
                name: "hadamard",
                summary: "whether transforms are in the kernels that quantise them or by themselves: fused, alone",
                value: match self.hadamard {
                    Transforms::Fused => "fused",
                    Transforms::Alone => "alone",
                }
                .to_owned(),
            },
            OptionValue {
                name: "epilogues",
                summary: "which products' kernels compute of them what follows: none, all, which is for GPUs",
                value: match self.epilogues {
                    Epilogues::None => "none",
                    Epilogues::Scaled => "scaled",
                    Epilogues::All => "all",
                }
                .to_owned(),
            },
            OptionValue {
                name: "attention",
                summary: "whether the products between which a softmax stands are in memory or made again, a tile at a time: written, tiled, which is for GPUs",
                value: match self.attention {
                    Attentions::Written => "written",
                    Attentions::Tiled => "tiled",
                }
                .to_owned(),
            },
        ]
    }

    fn set_option(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        match name {
            "max-operands" => self.max_operands = integer_option(value)?,
            "max-ops" => self.max_ops = integer_option(value)?,
            "hadamard" => {
                self.hadamard = match value {
                    "fused" => Transforms::Fused,
                    "alone" => Transforms::Alone,
                    _ => {
                        return Err(OptionError::Value {
                            expected: "fused or alone",
                            found: value.to_owned(),
                        });
                    }
                }
            }
            "epilogues" => {
                self.epilogues = match value {
                    "none" => Epilogues::None,
                    "scaled" => Epilogues::Scaled,
                    "all" => Epilogues::All,
                    _ => {
                        return Err(OptionError::Value {
                            expected: "none, scaled or all",
                            found: value.to_owned(),
                        });
                    }
                }
            }
            "attention" => {
                self.attention = match value {
                    "written" => Attentions::Written,
                    "tiled" => Attentions::Tiled,
                    _ => {
                        return Err(OptionError::Value {
                            expected: "written or tiled",
                            found: value.to_owned(),
                        });
                    }
                }
            }
            _ => return Err(OptionError::Unknown),
        }
        Ok(())
    }

    fn run(&self, module: &Module, report: &mut Report) -> Result<Module, PassFailure> {
        let mut outliner = Outliner::new(*self, module);
        let mut result = Module::new(module.name.clone());
        let entry = module.entry().map(|entry| &entry.name);
        for graph in module.graphs() {
            // Kernels there already stay as they are.
            if graph.visibility == Visibility::Private && Some(&graph.name) != entry {
                result.insert(graph.clone());
            } else {
                let graph = reductions::with_plain_reductions(graph, self.epilogues)?;
                result.insert(outliner.graph(&graph)?);
            }
        }
        report.count("kernels", outliner.kernel_count());
        report.count("launches", outliner.launches);
        for kernel in outliner.into_kernels() {
            result.insert(kernel);
        }
        Ok(result)
    }
}
