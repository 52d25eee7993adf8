//! Tests of the member table.
