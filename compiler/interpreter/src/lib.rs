//! Tessera's reference evaluator: one obvious function an op.
