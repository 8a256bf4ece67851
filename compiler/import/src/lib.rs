//! StableHLO text to Tessera graphs.
