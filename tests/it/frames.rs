//! Data frames as other software writes them.
