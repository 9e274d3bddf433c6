use crate::cli::args::Common;
use crate::cli::problem::Problem;
use convscope_models::families;
use convscope_models::network::thousands;
use serde_json::json;

pub fn run(common: &Common) -> Result<(), Problem> {
    let known = families::list()?;
    if common.json {
        let rows: Vec<_> = known
            .iter()
            .map(|k| {
                let weights = k.pretrained.as_ref().map(|p| json!({"file": p.file, "url": p.url, "hub": p.hub}));
                json!({"name": k.name, "about": k.about, "parameters": k.parameters, "classes": k.classes.len(), "weights": weights})
            })
            .collect();
        println!("{:#}", serde_json::Value::Array(rows));
        return Ok(());
    }
    println!("{:16} {:>12}  about", "network", "parameters");
    for k in &known {
        println!("{:16} {:>12}  {}", k.name, thousands(k.parameters), k.about);
        match &k.pretrained {
            Some(p) => {
                let hub = p.hub.as_ref().map(|h| format!("  or -w hf:{h}")).unwrap_or_default();
                println!("{:30}weights: {}{hub}", "", p.url);
            }
            None => println!("{:30}weights: your own", ""),
        }
    }
    Ok(())
}
