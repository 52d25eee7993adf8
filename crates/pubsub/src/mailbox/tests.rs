//! Tests of mailboxes.
