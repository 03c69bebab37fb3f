/* What every model needs. A promise that does not hold ends the run: the story of the trail then ends with its text. */
#define PROMISE(holds, text) \
  if \
  :: (holds) \
  :: else -> printf("BROKEN: "); printf(text); printf("\n"); assert(false) \
  fi

/* A mutation of the model is `-D<name>`; `MUTATED(name)` cannot be asked of the preprocessor, so each has its #ifdef. */
