//! A step's inputs from what the command line says: files, initialisers, patterns of names.

use crate::Failure;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use tessera_ir::{Tensor, TensorType};
use tessera_numerics::Initialiser;
use tessera_numerics::initialiser::ParseInitialiserError;

/// An input of the step, as far as giving it a value goes.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The type its tensor must have.
    pub tensor_type: TensorType,
    /// The name the front end gave it.
    pub name: Option<String>,
    /// How it begins where the command line says nothing.
    pub initialiser: Option<Initialiser>,
}

/// Where one input's tensor comes from.
#[derive(Clone, Debug)]
enum Origin {
    Initialiser(Initialiser),
    Tensor(Tensor),
    File {
        path: String,
        tensors: Rc<BTreeMap<String, Tensor>>,
        tensor: Option<String>,
    },
}

/// The values of a step's inputs, collected from the command line.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Names or patterns, and what each gives. The last one that fits a slot is taken.
    rules: Vec<(String, Origin)>,
}

impl Inputs {
    /// Adds the contents of a file: safetensors, or TOML with an initialiser a name.
    ///
    /// # Errors
    /// The file cannot be read or is malformed.
    pub fn add_file(&mut self, path: &Path) -> Result<(), Failure> {
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            return self.add_toml(path);
        }
        // A file of inputs and the results expected of them serves for both.
        let tensors = read_tensors(path)?.into_iter();
        let inputs = tensors.filter(|(name, _)| !is_result(name));
        let origins = inputs.map(|(name, tensor)| (name, Origin::Tensor(tensor)));
        self.rules.extend(origins);
        Ok(())
    }

    fn add_toml(&mut self, path: &Path) -> Result<(), Failure> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Failure::in_file(&name, error))?;
        let table: BTreeMap<String, String> =
            toml::from_str(&text).map_err(|error| Failure::in_file(&name, error))?;
        for (argument, value) in table {
            let origin = parse_value(&value)
                .map_err(|error| Failure::in_file(&name, format!("'{argument}': {error}")))?;
            self.rules.push((argument, origin));
        }
        Ok(())
    }

    /// Adds one `NAME=VALUE` of the command line.
    ///
    /// # Errors
    /// There is no `=`, or the value is not understood.
    pub fn add_value(&mut self, argument: &str) -> Result<(), Failure> {
        let (name, value) = argument
            .split_once('=')
            .ok_or_else(|| Failure::error(format!("--input '{argument}': expected NAME=VALUE")))?;
        let origin = parse_value(value.trim())
            .map_err(|error| Failure::error(format!("--input '{argument}': {error}")))?;
        self.rules.push((name.trim().to_owned(), origin));
        Ok(())
    }

    /// The tensor of every slot, in order. Input number `i` is called `arg{i}`, and by its own name if it has one.
    ///
    /// # Errors
    /// An input has no value or one of another type, or a name fits no input.
    pub fn resolve(&self, slots: &[Slot]) -> Result<Vec<Tensor>, Failure> {
        for (pattern, _) in &self.rules {
            let fits = |(number, slot): (usize, &Slot)| slot.answers_to(number, pattern);
            if !slots.iter().enumerate().any(fits) {
                let has = match slots.len() {
                    0 => "it has none".to_owned(),
                    1 => "it has arg0".to_owned(),
                    more => format!("it has arg0 to arg{}", more - 1),
                };
                let message = format!("the step has no input '{pattern}'; {has}");
                return Err(Failure::error(message));
            }
        }
        slots
            .iter()
            .enumerate()
            .map(|(number, slot)| self.resolve_one(number, slot))
            .collect()
    }

    fn resolve_one(&self, number: usize, slot: &Slot) -> Result<Tensor, Failure> {
        let rule = self
            .rules
            .iter()
            .rev()
            .find(|(pattern, _)| slot.answers_to(number, pattern));
        let own = slot.initialiser.map(Origin::Initialiser);
        let Some(origin) = rule.map(|(_, origin)| origin).or(own.as_ref()) else {
            return Err(Failure::error(format!(
                "input {} of type {} has no value: give it with --inputs FILE or --input 'arg{number}=…'",
                slot.describe(number),
                slot.tensor_type
            )));
        };
        let tensor = match origin {
            Origin::Initialiser(initialiser) => initialiser
                .tensor(
                    slot.tensor_type.element,
                    &slot.tensor_type.shape,
                    number as u64,
                )
                .map_err(|error| {
                    Failure::error(format!("input {}: {error}", slot.describe(number)))
                })?,
            Origin::Tensor(tensor) => tensor.clone(),
            Origin::File {
                path,
                tensors,
                tensor,
            } => {
                let wanted = tensor.clone().unwrap_or_else(|| format!("arg{number}"));
                let found = tensors.get(&wanted).cloned();
                found.ok_or_else(|| {
                    Failure::in_file(path, format!("there is no tensor '{wanted}'"))
                })?
            }
        };
        let found = TensorType::new(tensor.element(), tensor.shape());
        if found != slot.tensor_type {
            return Err(Failure::error(format!(
                "input {}: expected {}, found {found}",
                slot.describe(number),
                slot.tensor_type
            )));
        }
        Ok(tensor)
    }
}

impl Slot {
    /// Whether a name or pattern is this slot's. What begins by itself is a recipe's state: a pattern for the step's own
    /// inputs does not reach it.
    fn answers_to(&self, number: usize, pattern: &str) -> bool {
        let is_state = self.initialiser.is_some();
        if is_state && pattern.contains('*') && !pattern.starts_with("recipe.") {
            return false;
        }
        matches(pattern, &format!("arg{number}"))
            || self
                .name
                .as_ref()
                .is_some_and(|name| name == pattern || matches(pattern, name))
    }

    fn describe(&self, number: usize) -> String {
        match &self.name {
            Some(name) => format!("arg{number} (\"{name}\")"),
            None => format!("arg{number}"),
        }
    }
}

fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, Failure> {
    tessera_runtime::tensors::read(path)
        .map(|tensors| tensors.into_iter().collect())
        .map_err(Failure::error)
}

fn is_result(name: &str) -> bool {
    let number = name.strip_prefix("result");
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

/// An initialiser, or `@FILE` or `@FILE#TENSOR`, whose file is read here, once.
fn parse_value(value: &str) -> Result<Origin, String> {
    let Some(file) = value.strip_prefix('@') else {
        let initialiser: Result<_, ParseInitialiserError> = value.parse();
        return initialiser
            .map(Origin::Initialiser)
            .map_err(|error| error.to_string());
    };
    let (path, tensor) = match file.rsplit_once('#') {
        Some((path, tensor)) => (path, Some(tensor.to_owned())),
        None => (file, None),
    };
    let tensors = tessera_runtime::tensors::read(path).map_err(|error| error.to_string())?;
    Ok(Origin::File {
        path: path.to_owned(),
        tensors: Rc::new(tensors.into_iter().collect()),
        tensor,
    })
}

/// Whether the text fits the pattern, in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    starts.into_iter().any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_ir::ElementType;

    fn slots() -> Vec<Slot> {
        let slot = |element, name: Option<&str>| Slot {
            tensor_type: TensorType::new(element, [2]),
            name: name.map(str::to_owned),
            initialiser: None,
        };
        vec![
            slot(ElementType::F32, Some("w")),
            slot(ElementType::I32, None),
        ]
    }

    fn resolve(values: &[&str]) -> Result<Vec<Tensor>, String> {
        let mut inputs = Inputs::default();
        for value in values {
            inputs
                .add_value(value)
                .map_err(|failure| failure.to_string())?;
        }
        inputs
            .resolve(&slots())
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn later_values_take_precedence_over_patterns() {
        let tensors = resolve(&["arg*=zeros", "arg1=ones"]).unwrap();
        assert_eq!(tensors[0].values::<f32>(), Some(vec![0.0, 0.0]));
        assert_eq!(tensors[1].values::<i32>(), Some(vec![1, 1]));
    }

    #[test]
    fn an_input_goes_by_its_own_name_too() {
        let tensors = resolve(&["w=splat(2)", "arg1=zeros"]).unwrap();
        assert_eq!(tensors[0].values::<f32>(), Some(vec![2.0, 2.0]));
    }

    #[test]
    fn a_missing_input_is_named_with_its_type() {
        assert_eq!(
            resolve(&["w=ones"]).unwrap_err(),
            "error: input arg1 of type tensor<2xi32> has no value: give it with --inputs FILE or --input 'arg1=…'"
        );
    }

    #[test]
    fn an_input_begins_by_itself_where_nothing_is_given() {
        let mut slots = slots();
        slots[1].initialiser = Some(Initialiser::Ones);
        let mut inputs = Inputs::default();
        inputs.add_value("w=zeros").unwrap();
        let tensors = inputs.resolve(&slots).unwrap();
        assert_eq!(tensors[1].values::<i32>(), Some(vec![1, 1]));
        inputs.add_value("arg1=splat(3)").unwrap();
        let tensors = inputs.resolve(&slots).unwrap();
        assert_eq!(tensors[1].values::<i32>(), Some(vec![3, 3]));
    }

    #[test]
    fn a_pattern_reaches_a_recipes_state_by_its_own_name_alone() {
        let mut slots = slots();
        slots[1].initialiser = Some(Initialiser::Ones);
        slots[1].name = Some("recipe.step".to_owned());
        let resolved = |values: &[&str]| {
            let mut inputs = Inputs::default();
            for value in values {
                inputs.add_value(value).unwrap();
            }
            let tensors = inputs.resolve(&slots).unwrap();
            tensors[1].values::<i32>().unwrap()
        };
        // A normal distribution makes floats, which an i32 does not take.
        assert_eq!(resolved(&["arg*=normal(std=0.02)"]), [1, 1]);
        assert_eq!(resolved(&["*=zeros"]), [1, 1]);
        assert_eq!(resolved(&["arg*=zeros", "recipe.*=splat(3)"]), [3, 3]);
        assert_eq!(resolved(&["arg*=zeros", "recipe.step=splat(4)"]), [4, 4]);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        assert_eq!(
            resolve(&["arg*=ones", "arg2=ones"]).unwrap_err(),
            "error: the step has no input 'arg2'; it has arg0 to arg1"
        );
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        assert!(matches("params.*.wq", "params.layers.0.wq"));
        assert!(!matches("params.*.wq", "params.wq"));
        assert!(matches("*", ""));
        assert!(!matches("arg1", "arg10"));
    }
}
