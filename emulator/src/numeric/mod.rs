//! The arithmetic of PTX on single values: exact rounding, flushing and saturation, with nothing of lanes or registers.
