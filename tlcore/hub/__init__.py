"""Hub: models from elsewhere, and who trusts them. SavedModels are TensorFlow only."""
