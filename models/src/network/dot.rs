//! The network as a Graphviz graph.

use super::{LayerId, Network, NetworkError};

impl Network {
    /// The graph in DOT, for `dot -Tsvg`: scopes as nested boxes, layers with type and output shape for images of `height` x
    /// `width`.
    ///
    /// # Errors
    /// As [`Network::shapes`].
    pub fn to_dot(&self, height: usize, width: usize) -> Result<String, NetworkError> {
        let shaped = self.at(height, width)?;
        let mut lines = vec![
            format!("digraph {} {{", quote(&self.name)),
            "  node [shape=box, style=rounded, fontname=Helvetica, fontsize=10];".into(),
            "  graph [style=rounded, color=gray60, fontname=Helvetica, fontsize=11];".into(),
        ];
        let mut scopes = self.scopes.iter().enumerate().peekable();
        let mut open: Vec<usize> = Vec::new(); // ends of the boxes that are open, outermost first
        for (LayerId(index), layer, shape) in shaped.layers() {
            while open.pop_if(|end| *end <= index).is_some() {
                lines.push(format!("{}}}", indent(open.len())));
            }
            while let Some((number, scope)) = scopes.next_if(|(_, scope)| scope.layers.start <= index) {
                if scope.layers.contains(&index) {
                    let space = indent(open.len());
                    lines.push(format!("{space}subgraph cluster_{number} {{ label={};", quote(&scope.name)));
                    open.push(scope.layers.end);
                }
            }
            let label = quote(&format!("{}\n{}\n{shape}", layer.name, layer.kind));
            lines.push(format!("{}n{index} [label={label}];", indent(open.len())));
        }
        while open.pop().is_some() {
            lines.push(format!("{}}}", indent(open.len())));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            lines.extend(layer.inputs.iter().map(|input| format!("  n{} -> n{index};", input.0)));
        }
        lines.push("}\n".into());
        Ok(lines.join("\n"))
    }
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth + 1)
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
