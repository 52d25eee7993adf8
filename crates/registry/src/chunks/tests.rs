//! Tests of the chunked list.
