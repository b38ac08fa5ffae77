/* The ABI that libjpeg-turbo has as libjpeg.so.62, on every 64-bit Linux. */
#define JPEG_LIB_VERSION 62
#define BITS_IN_JSAMPLE 8
#define C_ARITH_CODING_SUPPORTED 1
#define D_ARITH_CODING_SUPPORTED 1
#define MEM_SRCDST_SUPPORTED 1
