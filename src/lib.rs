//! Tessera: a tensor compiler for training steps in 4-bit floating point.
