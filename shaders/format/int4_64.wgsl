//! int4_64: groups of 64 codes of 4 bits
//! use format/int4
const GROUP: u32 = 64u;
