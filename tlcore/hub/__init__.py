"""Hub: SavedModels as TF Hub serves them, as layers of Keras 3. TensorFlow only."""
