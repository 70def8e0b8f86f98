// The number of this workgroup. Counts above 65,535 arrive folded into y, and the fold can overshoot:
// a kernel must test the number against its rows before it writes.
fn flat_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}

// The rows and the columns of this workgroup, where there is one for each pair: the number of its rows, and that of its columns, of
// which it has `per` of `n`. Workgroups of the same rows follow each other, so that a cache has what all of them read.
fn tile_of(group: vec3<u32>, groups: vec3<u32>, n: u32, per: u32) -> vec2<u32> {
    let number = flat_group(group, groups);
    let tiles = max(1u, (n + per - 1u) / per);
    return vec2<u32>(number / tiles, number % tiles);
}

// Where a part of a whole begins and where it ends, one of `parts` that differ by one at most; more parts than there is are empty.
fn part_of(count: u32, part: u32, parts: u32) -> vec2<u32> {
    return vec2<u32>(count * part / parts, count * (part + 1u) / parts);
}
