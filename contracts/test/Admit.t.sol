// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {IMembers} from "../src/interfaces/IMembers.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {NotSelf, Signature, System, ZeroAddress} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// An attester that is a contract: what its owner signs, it signs (ERC-1271).
contract AttesterContract is IERC1271 {
    address private immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    function isValidSignature(bytes32 hash, bytes calldata s) external view returns (bytes4) {
        address signer = ecrecover(hash, uint8(s[64]), bytes32(s[:32]), bytes32(s[32:64]));
        return signer == owner ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

contract AdmitTest is Base {
    function testAdmit(address account, bytes32 nullifier, uint48 until) public {
        vm.assume(_isNew(account));
        until = uint48(bound(until, START + 1, START + MAX_TERM));
        IMembers.Admission memory a = IMembers.Admission(account, nullifier, until, DEADLINE);
        Signature[] memory quorum = attested(hashOf(a));

        vm.expectEmit(address(members));
        emit IMembers.Admitted(account, nullifier, START, until);
        vm.prank(relayer);
        members.admit(a, quorum);

        (address controller, uint48 since, uint48 stored, bool refusesGifts) = members.memberOf(account);
        assertEq(controller, address(0));
        assertEq(since, START);
        assertEq(stored, until);
        assertFalse(refusesGifts);
        assertEq(members.groups(), 4);
        assertEq(members.admittedOn(START / 1 days), 4);
        assertEq(members.rootOf(account), account);
        assertTrue(members.isActive(account));
        assertTrue(members.nullifierUsed(nullifier));
        vm.warp(until);
        assertFalse(members.isActive(account), "active in the second in which it lapses");
    }

    /// Prime Intellect's ValidatorQuorum fails with more than one validator.
    function testAdmitOnMoreSignaturesThanNeeded(address account) public {
        vm.assume(_isNew(account));
        IMembers.Admission memory a = _admission(account, "all");

        members.admit(a, sign(attesterKeys, typed(membersDomain(), hashOf(a))));

        assertTrue(members.isActive(account));
    }

    function testAdmitZeroMember(bytes32 nullifier) public {
        IMembers.Admission memory a = IMembers.Admission(address(0), nullifier, UNTIL, DEADLINE);
        _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.ZeroMember.selector));
    }

    /// What is nobody's (the commons, the escrow) is never a group's, and never votes.
    function testAdmitAContractOfTheSystem(bytes32 nullifier) public {
        address[2] memory holders = [system.ledger, system.access];
        for (uint256 i; i < holders.length; ++i) {
            IMembers.Admission memory a = IMembers.Admission(holders[i], nullifier, UNTIL, DEADLINE);
            _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.SystemAccount.selector, holders[i]));
        }
    }

    /// A lapsed membership is renewed, a replaced account stays out: neither is admitted a second time.
    function testAdmitWhoOnceWasAMember() public {
        recover(affiliate, stranger);
        address[3] memory known = [provider, affiliate, stranger];
        vm.warp(UNTIL);
        for (uint256 i; i < known.length; ++i) {
            IMembers.Admission memory a = IMembers.Admission(known[i], "another", UNTIL + 1, DEADLINE);
            _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.AlreadyMember.selector, known[i]));
        }
    }

    function testAdmitTwice(bytes32 nullifier, uint48 until) public {
        IMembers.Admission memory a = IMembers.Admission(provider, nullifier, until, DEADLINE);
        _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.AlreadyMember.selector, provider));
    }

    function testAdmitUsedNullifier(address account) public {
        vm.assume(account != stranger && _isNew(account));
        IMembers.Admission memory first = _admission(stranger, "one identity");
        members.admit(first, attested(hashOf(first)));

        IMembers.Admission memory a = _admission(account, "one identity");
        _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.NullifierUsed.selector, a.nullifier));
    }

    function testAdmitUntilPast(uint48 until) public {
        until = uint48(bound(until, 0, START));
        IMembers.Admission memory a = IMembers.Admission(stranger, "identity", until, DEADLINE);
        _refuse(a, attested(hashOf(a)), abi.encodeWithSelector(IMembers.UntilNotLater.selector, until, START));
    }

    /// A membership is looked at again at the latest after three years.
    function testAdmitUntilTooLate(uint48 until) public {
        until = uint48(bound(until, START + MAX_TERM + 1, type(uint48).max));
        IMembers.Admission memory a = IMembers.Admission(stranger, "identity", until, DEADLINE);
        bytes memory reason = abi.encodeWithSelector(IMembers.UntilTooLate.selector, until, START + MAX_TERM);
        _refuse(a, attested(hashOf(a)), reason);
        a.until = START + MAX_TERM;
        members.admit(a, attested(hashOf(a)));
    }

    function testAdmitAfterDeadline(uint48 deadline, uint48 late) public {
        deadline = uint48(bound(deadline, START, UNTIL - 2));
        late = uint48(bound(late, uint256(deadline) + 1, UNTIL - 1));
        IMembers.Admission memory a = IMembers.Admission(stranger, "identity", UNTIL, deadline);
        Signature[] memory quorum = attested(hashOf(a));

        vm.warp(late);
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.DeadlinePassed.selector, deadline, late));
        vm.warp(deadline);
        members.admit(a, quorum);
    }

    /// A limit works while identities cost something (loomchain 807): a quorum cannot flood the ledger in one day, and has its full
    /// number again on the next.
    function testAdmitNoMoreThanTheDayAllows() public {
        uint256 day = START / 1 days;
        for (uint160 i = 3; i < ADMISSIONS; ++i) {
            admit(address(0x10000 + i));
        }
        IMembers.Admission memory a = _admission(stranger, "late");
        Signature[] memory quorum = attested(hashOf(a));

        vm.warp((day + 1) * 1 days - 1);
        _refuse(a, quorum, abi.encodeWithSelector(IMembers.TooManyAdmissions.selector, day, ADMISSIONS));
        vm.warp((day + 1) * 1 days);
        members.admit(a, quorum);
    }

    /* QUORUM */

    function testAdmitQuorumTooSmall() public {
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = sign(_first(attesterKeys, 1), typed(membersDomain(), hashOf(a)));
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.QuorumTooSmall.selector, 1, THRESHOLD));
        _refuse(a, new Signature[](0), abi.encodeWithSelector(IQuorum.QuorumTooSmall.selector, 0, THRESHOLD));
    }

    function testAdmitSignerCountedTwice() public {
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = attested(hashOf(a));
        quorum[1] = quorum[0];
        address signer = quorum[0].signer;
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.SignersNotAscending.selector, signer, signer));
    }

    function testAdmitSignersDescending() public {
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = attested(hashOf(a));
        (quorum[0], quorum[1]) = (quorum[1], quorum[0]);
        _refuse(
            a, quorum, abi.encodeWithSelector(IQuorum.SignersNotAscending.selector, quorum[0].signer, quorum[1].signer)
        );
    }

    /// ERC-3643 issue 101: a signature that is good for a signer of the sender's choice is no signature of the quorum.
    function testAdmitSignerNotInQuorum(uint256 key) public {
        key = bound(key, 1, SECP256K1_N - 1);
        vm.assume(!members.isAttester(vm.addr(key)));
        IMembers.Admission memory a = _admission(stranger, "identity");
        uint256[] memory keys = new uint256[](2);
        (keys[0], keys[1]) = (key, attesterKeys[2]);
        if (vm.addr(key) > vm.addr(attesterKeys[2])) (keys[0], keys[1]) = (attesterKeys[0], key);

        Signature[] memory quorum = sign(keys, typed(membersDomain(), hashOf(a)));
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.NotInQuorum.selector, vm.addr(key)));
    }

    function testAdmitAnotherStatementThanSigned(address account, uint48 until) public {
        vm.assume(account != stranger && _isNew(account));
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = attested(hashOf(a));
        bytes memory bad = abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer);

        a.member = account;
        _refuse(a, quorum, bad);
        a.member = stranger;
        a.until = uint48(bound(until, START + 1, UNTIL - 1));
        _refuse(a, quorum, bad);
    }

    /// tronprotocol tips 848 (ONCHAINID claims sign no chain, and can be replayed on another): signed for another chain, for
    /// another contract, or for another purpose of the same contract.
    function testAdmitStatementOfAnotherDomain(uint64 chainId, address verifier) public {
        vm.assume(chainId != block.chainid && verifier != address(members));
        IMembers.Admission memory a = _admission(stranger, "identity");
        uint256[] memory keys = _first(attesterKeys, THRESHOLD);
        bytes memory bad = abi.encodeWithSelector(IQuorum.BadSignature.selector, vm.addr(keys[0]));
        string memory name = "Commonhold Members";

        _refuse(a, sign(keys, typed(domainOf(name, chainId, address(members)), hashOf(a))), bad);
        _refuse(a, sign(keys, typed(domainOf(name, block.chainid, verifier), hashOf(a))), bad);
        _refuse(a, sign(keys, typed(domainOf("Commonhold Ledger", block.chainid, address(members)), hashOf(a))), bad);
        _refuse(a, sign(keys, typed(membersDomain(), hashOf(IMembers.Renewal(stranger, UNTIL, DEADLINE)))), bad);
    }

    function testAdmitReplayOnAFork(uint64 chainId) public {
        vm.assume(chainId != block.chainid && chainId != 0);
        IMembers.Admission memory a = _admission(stranger, "identity");
        Signature[] memory quorum = attested(hashOf(a));

        vm.chainId(chainId);
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer));
    }

    function testAdmitOnTheWordOfAContract() public {
        attesterKeys = _first(attesterKeys, 1);
        address attester = address(new AttesterContract(addressOf(attesterKeys[0])));
        vm.prank(system.timelock);
        members.addSigner(attester);
        skipTo(block.timestamp + LOOSEN_DELAY);
        address out = members.attesters()[2];
        vm.prank(system.timelock);
        members.removeSigner(out);
        members.enactSigner(attester);
        IMembers.Admission memory a = _admission(stranger, "identity");
        bytes32 digest = typed(membersDomain(), hashOf(a));
        Signature[] memory quorum = new Signature[](2);
        (quorum[0], quorum[1]) = (sign(attesterKeys, digest)[0], Signature(attester, sign(keyOf[provider], digest)));
        if (quorum[0].signer > attester) (quorum[0], quorum[1]) = (quorum[1], quorum[0]);

        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.BadSignature.selector, attester));
        quorum[quorum[0].signer == attester ? 0 : 1].signature = sign(attesterKeys[0], digest);
        members.admit(a, quorum);

        assertTrue(members.isActive(stranger));
    }

    /* CONSTRUCTOR */

    function testConstructorTellsItsSettings() public view {
        assertEq(members.threshold(), THRESHOLD);
        assertEq(members.attesters().length, 3);
        assertEq(members.admissionsPerDay(), ADMISSIONS);
        assertEq(members.detachDelay(), DETACH_DELAY);
        assertEq(members.recoveryDelay(), RECOVERY_DELAY);
        assertEq(members.timelock(), system.timelock);
        assertEq(members.ledger(), system.ledger);
        assertEq(members.access(), system.access);
    }

    /// The threshold is a majority from the first day on.
    function testConstructorBadThreshold(uint256 threshold) public {
        if (threshold == 2 || threshold == 3) threshold = 1;
        bytes memory reason = abi.encodeWithSelector(IQuorum.BadThreshold.selector, threshold, 3);
        refuseToMake(addressesOf(attesterKeys), threshold, ADMISSIONS, DETACH_DELAY, RECOVERY_DELAY, reason);
    }

    function testConstructorBadSigner() public {
        address[] memory attesters = addressesOf(attesterKeys);
        attesters[2] = attesters[0];
        bytes memory reason = abi.encodeWithSelector(IQuorum.BadSigner.selector, attesters[0]);
        refuseToMake(attesters, 2, ADMISSIONS, DETACH_DELAY, RECOVERY_DELAY, reason);
        attesters[2] = address(0);
        reason = abi.encodeWithSelector(IQuorum.BadSigner.selector, address(0));
        refuseToMake(attesters, 2, ADMISSIONS, DETACH_DELAY, RECOVERY_DELAY, reason);
    }

    function testConstructorTooManySigners() public {
        address[] memory attesters = new address[](33);
        for (uint160 i; i < 33; ++i) {
            attesters[i] = address(0x1000 + i);
        }
        bytes memory reason = abi.encodeWithSelector(IQuorum.TooManySigners.selector, 33, 32);
        refuseToMake(attesters, 17, ADMISSIONS, DETACH_DELAY, RECOVERY_DELAY, reason);
    }

    function testConstructorAdmissionsOutOfBounds(uint256 admissions) public {
        if (admissions != 0) admissions = bound(admissions, 10_001, type(uint256).max);
        bytes memory reason =
            abi.encodeWithSelector(ISettings.OutOfBounds.selector, bytes32("admissionsPerDay"), admissions, 1, 10_000);
        refuseToMake(addressesOf(attesterKeys), 2, admissions, DETACH_DELAY, RECOVERY_DELAY, reason);
    }

    function testConstructorDelayOutOfBounds(uint48 delay) public {
        if (delay >= 1 days) delay = uint48(bound(delay, 90 days + 1, type(uint48).max));
        bytes memory reason = abi.encodeWithSelector(IMembers.BadDelay.selector, delay, 1 days, 90 days);
        refuseToMake(addressesOf(attesterKeys), 2, ADMISSIONS, delay, RECOVERY_DELAY, reason);
        refuseToMake(addressesOf(attesterKeys), 2, ADMISSIONS, DETACH_DELAY, delay, reason);
    }

    function testConstructorAtTheBounds() public {
        address[] memory attesters = addressesOf(attesterKeys);
        _make(abi.encode(attesters, 2, 1, 1 days, 90 days, _systemOfTheNext()));
        _make(abi.encode(attesters, 3, 10_000, 90 days, 1 days, _systemOfTheNext()));
    }

    function testConstructorNotSelf() public {
        bytes memory code = abi.encodePacked(vm.getCode("Members.sol:Members"), membersArguments());
        address made = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        refuseToMake(code, abi.encodeWithSelector(NotSelf.selector, system.members, made));
    }

    function testConstructorZeroAddress() public {
        bytes memory code = vm.getCode("Members.sol:Members");
        for (uint256 i; i < 7; ++i) {
            bytes memory arguments = membersArguments();
            // The addresses of the system are inline, after four lengths and numbers and the offset of the list.
            uint256 place = 0x20 * (1 + 5 + i);
            assembly ("memory-safe") {
                mstore(add(arguments, place), 0)
            }
            refuseToMake(abi.encodePacked(code, arguments), abi.encodeWithSelector(ZeroAddress.selector));
        }
    }

    function _make(bytes memory arguments) private {
        assertGt(deployCode("Members.sol:Members", arguments).code.length, 0);
    }

    function _systemOfTheNext() private view returns (System memory s) {
        s = system;
        s.members = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
    }

    function refuseToMake(
        address[] memory attesters,
        uint256 threshold,
        uint256 admissions,
        uint48 detachDelay,
        uint48 recoveryDelay,
        bytes memory reason
    ) private {
        system.members = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        bytes memory arguments = abi.encode(attesters, threshold, admissions, detachDelay, recoveryDelay, system);
        refuseToMake(abi.encodePacked(vm.getCode("Members.sol:Members"), arguments), reason);
    }

    function _isNew(address account) private view returns (bool) {
        return account != address(0) && account != system.ledger && account != system.access && !isMember(account);
    }

    function _admission(address account, bytes32 nullifier) private pure returns (IMembers.Admission memory) {
        return IMembers.Admission(account, nullifier, UNTIL, DEADLINE);
    }

    function _refuse(IMembers.Admission memory a, Signature[] memory quorum, bytes memory reason) private {
        vm.expectRevert(reason);
        members.admit(a, quorum);
    }
}
