// tsyringe, under @peculiar/x509, wants this loaded before it. The certificates import the library from here.
import 'reflect-metadata';

export * from '@peculiar/x509';
