// The number of this workgroup. Counts above 65,535 arrive folded into y, and the fold can overshoot:
// a kernel must test the number against its rows before it writes.
fn flat_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
