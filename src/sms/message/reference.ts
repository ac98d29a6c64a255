/**
 * Reference of a message: user_message_reference of its submit_sm (SMPP 3.4, 5.3.2.17), which some SMSCs give back in
 * receipts. It is made of the id, so whoever has the id knows it, though the worker that sent the message is dead. It has
 * 16 bits and names a message only together with the number of the phone.
 */
import { crc32 } from 'node:zlib';

export const referenceOf = (messageId: string): number => crc32(messageId) & 0xffff;
