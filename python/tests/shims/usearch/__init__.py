"""The interface of usearch over nearfield, so that usearch's own tests run."""
