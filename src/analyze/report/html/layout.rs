//! Places for the nodes of a graph: in columns, so that edges lead to the
//! right where they can, and in an order that crosses few of them.
//!
//! A layered drawing (Sugiyama and others, 1981) in its simplest form: cycles
//! are broken by ignoring edges that lead back, columns are longest paths, the
//! order within a column is that of the mean place of the neighbours.

/// Rounds of ordering; more change nothing in graphs of this size.
const ROUNDS: usize = 6;

/// Column and place within it of each node. `edges` lead from node to node.
pub fn places(nodes: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let columns = columns(nodes, edges);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); columns.iter().max().map_or(0, |m| m + 1)];
    for (node, column) in columns.iter().enumerate() {
        if let Some(list) = order.get_mut(*column) {
            list.push(node);
        }
    }
    let mut places = place(&order, nodes);
    for _ in 0..ROUNDS {
        for list in &mut order {
            let mean = |node: usize| mean_of_neighbours(node, edges, &places);
            list.sort_by(|a, b| mean(*a).total_cmp(&mean(*b)).then(a.cmp(b)));
            // At once, or two columns would go on changing places.
            for (index, node) in list.iter().enumerate() {
                if let Some(place) = places.get_mut(*node) {
                    *place = index;
                }
            }
        }
    }
    columns.into_iter().zip(places).collect()
}

fn place(order: &[Vec<usize>], nodes: usize) -> Vec<usize> {
    let mut places = vec![0; nodes];
    for list in order {
        for (index, node) in list.iter().enumerate() {
            if let Some(place) = places.get_mut(*node) {
                *place = index;
            }
        }
    }
    places
}

fn mean_of_neighbours(node: usize, edges: &[(usize, usize)], places: &[usize]) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (from, to) in edges.iter().filter(|(from, to)| *from == node || *to == node) {
        let other = if *from == node { *to } else { *from };
        sum += places.get(other).copied().unwrap_or(0) as f64;
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { places.get(node).copied().unwrap_or(0) as f64 }
}

/// The longest way to each node from one that nobody calls.
fn columns(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let forward = without_cycles(nodes, edges);
    let mut columns = vec![0; nodes];
    // Without cycles no way is longer than there are nodes.
    for _ in 0..nodes {
        let mut changed = false;
        for (from, to) in &forward {
            let least = columns.get(*from).copied().unwrap_or(0) + 1;
            if let Some(column) = columns.get_mut(*to).filter(|column| **column < least) {
                *column = least;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    columns
}

/// The edges that do not lead back to where a way came from.
fn without_cycles(nodes: usize, edges: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> = Vec::new();
    for (from, to) in edges {
        if from != to && !reaches(*to, *from, &kept, nodes) {
            kept.push((*from, *to));
        }
    }
    kept
}

/// Whether there is a way along the edges.
fn reaches(from: usize, to: usize, edges: &[(usize, usize)], nodes: usize) -> bool {
    let mut seen = vec![false; nodes];
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        if node == to {
            return true;
        }
        match seen.get_mut(node) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        open.extend(edges.iter().filter(|(a, _)| *a == node).map(|(_, b)| *b));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_lead_to_the_right() {
        let edges = [(0, 1), (1, 2), (0, 2), (3, 1)];
        let columns: Vec<_> = places(4, &edges).into_iter().map(|(column, _)| column).collect();
        assert_eq!(columns, [0, 1, 2, 0]);
    }

    #[test]
    fn who_calls_in_a_circle_has_a_place() {
        let places = places(3, &[(0, 1), (1, 2), (2, 0), (1, 1)]);
        assert_eq!(places, [(0, 0), (1, 0), (2, 0)]);
    }

    #[test]
    fn order_avoids_crossings() {
        let places = places(4, &[(0, 3), (1, 2)]);
        assert_eq!(places[0].1, places[3].1);
        assert_eq!(places[1].1, places[2].1);
    }
}
