// Several problems of equal size, one behind the other: no workgroup belongs to two of them.
struct Place {
    problem: u32,
    first: u32,     // row of the problem that the workgroup begins at
}

// The place of workgroup `group`, if each problem has `each` rows.
fn place_of(group: u32, each: u32, rows_per_group: u32) -> Place {
    let groups = max((each + rows_per_group - 1u) / rows_per_group, 1u);
    return Place(group / groups, (group % groups) * rows_per_group);
}
