//! Graph to graph to plan: inline, canonicalise, fuse, plan.
