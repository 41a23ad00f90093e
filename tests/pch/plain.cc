// Only carries plain.h.
