//! int4_32: groups of 32 codes of 4 bits
//! use format/int4
const GROUP: u32 = 32u;
