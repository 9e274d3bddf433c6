//! `convscope models`: the known networks.

use crate::cli::args::ModelsArgs;
use crate::cli::commands::RunCommand;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::terminal::{print, print_json};
use convscope_models::families;
use convscope_models::text::thousands;
use serde_json::json;

impl RunCommand for ModelsArgs {
    const NAME: &'static str = "models";
    const NUMBERS: bool = false;

    fn run(&self, invocation: &Invocation) -> Result<(), CliError> {
        let known = families::list()?;
        if invocation.common.json {
            let rows: Vec<_> = known
                .iter()
                .map(|k| {
                    let weights = k.pretrained.as_ref().map(|p| json!({"file": p.file, "url": p.url, "hub": p.hub}));
                    json!({"name": k.name, "about": k.about, "parameters": k.parameters, "classes": k.classes.len(), "weights": weights})
                })
                .collect();
            return print_json(format!("{:#}", serde_json::Value::Array(rows)));
        }
        let mut lines = vec![format!("{:18} {:>12}  about", "network", "parameters")];
        for k in &known {
            lines.push(format!("{:18} {:>12}  {}", k.name, thousands(k.parameters), k.about));
            let weights = match &k.pretrained {
                Some(p) => p.url.clone() + &p.hub.as_ref().map(|h| format!("  or -w hf:{h}")).unwrap_or_default(),
                None => "your own".to_string(),
            };
            lines.push(format!("{:32}weights: {weights}", ""));
        }
        print(lines.join("\n"))
    }
}
