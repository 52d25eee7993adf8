//! Tests of owners.
