"""One evaluation as jobs: targets, executors, the store of results."""
