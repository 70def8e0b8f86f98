//! int4_128: groups of 128 codes of 4 bits
//! use format/int4
const GROUP: u32 = 128u;
