//! The rules broken on purpose, one at a time: each looks right, and each must be caught by a property of the simulation.

/// Which rule is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Variant {
    /// None: the router as it is shipped.
    #[default]
    Right,
    // In the router.
    FullRingSendsNewest,
    FullRingEvictsNewest,
    EvictionDrops,
    TooBigGoesAtOnce,
    DirectBypassesRing,
    HeardWithPending,
    WrittenAsQueued,
    TrimmedOneTooFar,
    PositionOneTooHigh,
    SyncWithoutLingering,
    SyncIntoNewSet,
    SyncFromSnapshot,
    RouteFromBegin,
    BeginDropsWaiting,
    LostFrameDropsWaiting,
    SeqNotChecked,
    RingOutlivesLink,
    OverLimitIgnored,
    OldPeerWantsNothing,
    WantedWithoutReplay,
    ReplayBackwards,
    KeptAfterReplay,
    GapNotTold,
    /// "+t" carries the position heard when it is written.
    WantedCarriesHeard,
    /// "+t" carries the position heard when `subscribe` ran; entries of t at or before it stay in the ring.
    NotPurged,
    // In the router too, and shown only by a clock.
    NoAnnounceTimer,
    AnswerWaits,
    // In the adapter or the registry around it, hence in the simulation.
    LanesDropOlder,
    HeardOvertakes,
    HeardAfterEdges,
    EdgesLate,
    WrittenAsRegistrySays,
    HeardKeptOverRestart,
    NoLast,
    OlderLinkReplaces,
}
