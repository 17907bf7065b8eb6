//! The root configuration: composed of the modules' own, read from file, environment and flags.
