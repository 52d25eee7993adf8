//! Tests of the incarnation rules.
