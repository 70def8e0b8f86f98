//! Which nodes a model's output needs, and in which order.

use std::collections::{HashMap, HashSet};

use super::Names;
use crate::io::onnx::{Model, Node, ValueInfo};
use crate::io::quoted;

/// What is to be lowered.
pub struct Plan<'m> {
    /// The network's input.
    pub input: &'m ValueInfo,
    /// The name of its output.
    pub output: &'m str,
    /// The nodes that it needs, each behind those that it reads.
    pub nodes: Vec<&'m Node>,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
enum Origin<'m> {
    Input(&'m ValueInfo),
    Constant,
    Node(usize),
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 8;
    let names: Vec<&str> = names.collect();
    let mut text: Vec<String> = names.iter().take(MOST).map(|name| quoted(name)).collect();
    if names.len() > MOST {
        text.push(format!("and {} more", names.len() - MOST));
    }
    text.join(", ")
}

/// Chooses the output, and what it needs.
pub fn plan<'m>(model: &'m Model, names: &Names) -> Result<Plan<'m>, String> {
    let origins = origins(model)?;
    let output = output(model, names.output.as_deref())?;
    let mut plan = Plan { input: output, output: &output.name, nodes: Vec::new() };
    let mut inputs: Vec<&ValueInfo> = Vec::new();
    let mut done: HashSet<&str> = HashSet::new();
    let mut begun: HashSet<usize> = HashSet::new();
    let mut finished: HashSet<usize> = HashSet::new();
    // Values to be made, each with the one that reads it; on the way back (`true`) the node behind a value is complete.
    let mut stack: Vec<(&str, Option<&Node>, bool)> = vec![(plan.output, None, false)];
    while let Some((name, reader, complete)) = stack.pop() {
        if done.contains(name) && !complete {
            continue;
        }
        let Some(&origin) = origins.get(name) else {
            return Err(match reader {
                Some(node) => format!(
                    "{} reads {}, which neither a node nor an input nor a constant gives",
                    super::describe(node),
                    quoted(name)
                ),
                None => format!("its output {} is given by no node", quoted(name)),
            });
        };
        let place = match origin {
            Origin::Input(info) => {
                done.insert(name);
                inputs.push(info);
                continue;
            }
            Origin::Constant => {
                done.insert(name);
                continue;
            }
            Origin::Node(place) => place,
        };
        let Some(node) = model.nodes.get(place) else { continue };
        if complete {
            done.extend(node.outputs.iter().map(String::as_str));
            if finished.insert(place) {
                plan.nodes.push(node);
            }
            continue;
        }
        if !begun.insert(place) {
            if finished.contains(&place) {
                continue;
            }
            return Err(format!(
                "{} is part of a cycle: it reads what is made of its output",
                super::describe(node)
            ));
        }
        stack.push((name, reader, true));
        let reads = node.inputs.iter().rev().filter(|input| !input.is_empty());
        stack.extend(reads.map(|input| (input.as_str(), Some(node), false)));
    }
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    let of = quoted(plan.output);
    match (names.input.as_deref(), inputs.as_slice()) {
        (_, []) => Err(format!("its output {of} does not depend on an input")),
        (Some(wanted), found) if !found.iter().any(|info| info.name == wanted) => Err(format!(
            "its output {of} is not computed from an input {} but from {}",
            quoted(wanted),
            list(found.iter().map(|info| info.name.as_str()))
        )),
        (_, [input]) => {
            plan.input = input;
            Ok(plan)
        }
        (_, several) => Err(format!(
            "its output {of} needs {} inputs, {}: lowbit runs networks of one input; choose another output \
             (`model-output` NAME), or make the other inputs constants of the model",
            several.len(),
            list(several.iter().map(|info| info.name.as_str()))
        )),
    }
}

fn output<'m>(model: &'m Model, wanted: Option<&str>) -> Result<&'m ValueInfo, String> {
    let all = || list(model.outputs.iter().map(|info| info.name.as_str()));
    match (wanted, model.outputs.as_slice()) {
        (_, []) => Err("it has no outputs".into()),
        (Some(name), outputs) => {
            let found = outputs.iter().find(|info| info.name == name);
            found.ok_or_else(|| format!("it has no output {}; there is: {}", quoted(name), all()))
        }
        (None, [output]) => Ok(output),
        (None, several) => Err(format!(
            "it has {} outputs, {}: name one of them (`model-output` NAME)",
            several.len(),
            all()
        )),
    }
}

fn origins(model: &Model) -> Result<HashMap<&str, Origin<'_>>, String> {
    let mut origins = HashMap::new();
    let twice = |name: &str| Err(format!("the value {} is defined twice", quoted(name)));
    for tensor in &model.initializers {
        if origins.insert(tensor.name.as_str(), Origin::Constant).is_some() {
            return twice(&tensor.name);
        }
    }
    let mut inputs = HashSet::new();
    for info in &model.inputs {
        if !inputs.insert(info.name.as_str()) {
            return twice(&info.name);
        }
        // Old models list constants among the inputs.
        origins.entry(&info.name).or_insert(Origin::Input(info));
    }
    for (place, node) in model.nodes.iter().enumerate() {
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            if origins.insert(name, Origin::Node(place)).is_some() {
                return twice(name);
            }
        }
    }
    Ok(origins)
}
