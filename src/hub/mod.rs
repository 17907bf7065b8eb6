//! Who on this node listens to what; synchronous, never awaits.
