//! Data directories of every format are opened for ever; newer ones are refused before anything is touched.
