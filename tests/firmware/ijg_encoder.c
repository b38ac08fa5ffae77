/* A baseline JPEG encoder as small as one can be, with IJG's scaling of its tables: it codes a gray frame of one MCU.
 * TABLES_H is what edgeguard firmware export wrote; ZIGZAG says in which order this encoder keeps its tables, as the
 * firmware that it stands for does; QUALITY is the camera's setting. What counts is the DQT segment. */
#include <stdio.h>
#include TABLES_H

static const unsigned char natural_of[64] = {
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

static int scaled(int step) {
    int percent = QUALITY < 50 ? 5000 / QUALITY : 200 - 2 * QUALITY;
    int value = (step * percent + 50) / 100;
    return value < 1 ? 1 : value > 255 ? 255 : value;
}

static void table(int number) {
    printf("\xff\xdb%c%c%c", 0, 67, number);
    for (int i = 0; i < 64; i++) {
        int at = ZIGZAG ? i : natural_of[i]; /* the segment is in zigzag order */
        putchar(scaled(number ? CHROMA[at] : LUMA[at]));
    }
}

static void huffman(int class_and_number) { /* one code of one bit: category 0, or end of block */
    printf("\xff\xc4%c%c%c%c", 0, 20, class_and_number, 1);
    for (int i = 0; i < 15; i++) putchar(0);
    putchar(0);
}

int main(void) {
    static const unsigned char frame[] = {0xff, 0xc0, 0, 17, 8, 0, 16, 0, 16, 3, 1, SAMPLING, 0, 2, 0x11, 1, 3, 0x11, 1};
    static const unsigned char scan[] = {0xff, 0xda, 0, 12, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0, 0, 0xff & 0x00, 0xff, 0xd9};
    printf("\xff\xd8");
    table(0);
    table(1);
    fwrite(frame, 1, sizeof frame, stdout);
    huffman(0x00);
    huffman(0x10);
    huffman(0x01);
    huffman(0x11);
    fwrite(scan, 1, sizeof scan, stdout); /* six or four blocks of two zero bits each */
    return 0;
}
