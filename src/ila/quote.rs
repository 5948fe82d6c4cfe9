//! Translating back the packet that an ICMPv6 error quotes (FEATURES N3).
