//! Bugs on purpose: each must turn the gate red, or the gate is too weak to mean anything.
